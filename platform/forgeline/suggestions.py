"""Did-you-mean: the nearest known name to one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when nothing is close enough to be meant."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12, first: Iterable[str] = ()) -> str:
    """The tail of an error message: the nearest name where there is one, else (up to `limit` of) what is known.

    Those in `first` are listed before the others.

    >>> did_you_mean("resnet81", ["resnet18", "vgg16"])
    'did you mean `resnet18`?'
    """
    ahead = set(first)
    names = sorted(set(known), key=lambda one: (one not in ahead, one))
    meant = nearest(name, names)
    if meant is not None:
        return f"did you mean `{meant}`?"
    if not names:
        return "none is known"
    shown = ", ".join(names[:limit])
    return f"known: {shown}" + (f", … ({len(names)} in all)" if len(names) > limit else "")
