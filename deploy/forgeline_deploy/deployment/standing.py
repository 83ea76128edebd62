"""How a deployment stands, from the ledger and its journal."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from forgeline_deploy.deployment.pinning import pinned_before

if TYPE_CHECKING:
    from forgeline.ledger.ledger import Ledger
    from forgeline.ledger.records import RunRecord

_ASK_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One deployment.

    Attributes:
        url: where it listens, or listened last; None before it is up.
        version: that is pinned; None before one is.
    """

    run_id: str
    name: str
    state: str
    reason: str | None
    message: str | None
    is_final: bool
    created: datetime
    took_s: float | None
    reference: str | None
    model: str | None
    version: str | None
    digest: str | None
    url: str | None

    def answers(self) -> bool:
        """Whether it says that it is ready now."""
        if self.url is None or self.is_final:
            return False
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ASK_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def standing(ledger: Ledger, record: RunRecord) -> Standing:
    """How the deployment of a run stands."""
    entries = ledger.journal(record.id)
    pinned = pinned_before(entries, "champion")
    urls = [entry["url"] for entry in entries if entry.get("entry") == "serving"]
    return Standing(
        run_id=record.id,
        name=record.name,
        state=str(record.state),
        reason=None if record.reason is None else str(record.reason),
        message=record.message,
        is_final=record.is_final,
        created=record.created,
        took_s=ledger.took_s(record.id),
        reference=None if pinned is None else pinned.reference,
        model=None if pinned is None else pinned.model,
        version=None if pinned is None else pinned.version,
        digest=None if pinned is None else pinned.digest,
        url=urls[-1] if urls else None,
    )
