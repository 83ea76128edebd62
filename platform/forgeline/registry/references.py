"""The ways to name a model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from forgeline.errors import UsageError

_MODEL = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+|latest))")
_RUN = re.compile(r"runs:/(?P<run>[A-Za-z0-9_-]+)(?:/model)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReference:
    """A registered model by alias or by version; `version` None and `alias` None means the latest."""

    name: str
    alias: str | None = None
    version: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReference:
    """The model that a run made."""

    run_id: str


def parse(reference: str) -> ModelReference | RunReference | None:
    """What a reference names; None when it is a path.

    >>> parse("models:/digits@champion")
    ModelReference(name='digits', alias='champion', version=None)
    >>> parse("models:/digits/3").version
    3
    >>> parse("runs:/3f2a")
    RunReference(run_id='3f2a')

    Raises:
        UsageError: it begins like a reference and goes on wrongly.
    """
    if reference.startswith("models:"):
        match = _MODEL.fullmatch(reference)
        if match is None:
            raise UsageError(
                f"{reference!r} names no model version; allowed: models:/NAME@ALIAS, models:/NAME/VERSION, "
                "models:/NAME/latest"
            )
        number = match["version"]
        version = int(number) if number and number != "latest" else None
        return ModelReference(name=match["name"], alias=match["alias"], version=version)
    if reference.startswith("runs:"):
        match = _RUN.fullmatch(reference)
        if match is None:
            raise UsageError(f"{reference!r} names no run; allowed: runs:/RUN_ID")
        return RunReference(run_id=match["run"])
    return None
