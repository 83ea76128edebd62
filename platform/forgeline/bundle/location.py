"""Where a bundle lies: found by a reference of any form, and put in its place so that no reader sees half of one."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from forgeline.bundle.manifest import MANIFEST
from forgeline.errors import NotFound

# Where a bundle is inside a folder that MLflow or a run keeps it in.
_INSIDE = (".", "bundle", "data/bundle")


def put(fresh: Path, target: Path) -> None:
    """Move a folder to its place; the one that is there keeps it when that fails."""
    aside = fresh.with_name(f"{fresh.name}.replaced")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def find_folder(reference: str | Path) -> Path:
    """The folder that holds `bundle.json`, for a reference of any form.

    Raises:
        NotFound: there is no such model, run or folder, or no bundle in it.
    """
    text = str(reference)
    if text.startswith(("models:/", "runs:/")):
        from forgeline.registry.models import resolve

        place = Path(resolve(text))
    else:
        place = Path(reference).expanduser()
        if not place.is_dir():
            raise NotFound(
                f"no model {text!r}: there is no such folder; allowed: models:/NAME@ALIAS, models:/NAME/VERSION, "
                "runs:/RUN, or the folder of a bundle"
            )
    for inside in _INSIDE:
        if (place / inside / MANIFEST).is_file():
            return place / inside if inside != "." else place
    raise NotFound(f"{place} holds no {MANIFEST}: it is not the folder of a bundle")
