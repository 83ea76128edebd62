"""Did-you-mean: the nearest known name to one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when nothing is close enough to be meant."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """The tail of an error message: the nearest name where there is one, else (up to `limit` of) what is known.

    >>> did_you_mean("resnet81", ["resnet18", "vgg16"])
    'did you mean `resnet18`?'
    """
    names = sorted(set(known))
    meant = nearest(name, names)
    if meant is not None:
        return f"did you mean `{meant}`?"
    if not names:
        return "none is known"
    shown = ", ".join(names[:limit])
    return f"known: {shown}" + (f", … ({len(names)} in all)" if len(names) > limit else "")
