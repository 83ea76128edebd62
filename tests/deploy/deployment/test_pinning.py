"""Which version a deployment serves, and that a resumed one serves no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forgeline.bundle import Bundle
from forgeline.errors import BundleTampered
from forgeline_deploy.deployment.pinning import found_again, pin, pinned_before


@pytest.fixture
def own(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGELINE_HOME", str(tmp_path / "home"))
    shutil.copytree(bundle.folder, tmp_path / "own")
    return tmp_path / "own"


def test_a_folder_is_pinned_by_its_digest(own: Path, bundle: Bundle) -> None:
    pinned = pin(str(own), role="champion", name="customers")
    assert (pinned.model, pinned.version) == ("customers", bundle.digest[:12])
    journal = [{"entry": "other"}, pinned.entry(), {"entry": "serving", "url": "x"}]
    assert pinned_before(journal, "champion") == pinned and pinned_before(journal, "challenger") is None
    assert found_again(pinned) == pinned


def test_another_bundle_in_its_place_is_refused(own: Path, bundle: Bundle) -> None:
    pinned = pin(str(own), role="champion", name="customers")
    shutil.rmtree(own)
    shutil.copytree(bundle.folder.with_name("bare"), own)
    with pytest.raises(BundleTampered, match="is not the one that this deployment serves"):
        found_again(pinned)
