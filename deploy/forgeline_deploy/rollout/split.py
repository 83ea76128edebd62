"""Which version answers a request: the same key always the same one, and a growing share only takes keys in.

A key and the rollout's salt have a place on a line of 2^64 places; the challenger has the first part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction

_PLACES = 2**64


class Split:
    """A line of keys, divided among versions.

    Args:
        weights: share of each version, 0 to 1, together 1. Each has the part after those before it, so that of two,
            growing the first one takes keys from the second, and gives none.
        salt: keys are shuffled by it; of a rollout its id, so that not always the same callers are the first.

    Raises:
        ValueError: a share is outside of 0 to 1, or they do not add up to 1.
    """

    def __init__(self, weights: Mapping[str, float], *, salt: str) -> None:
        shares = {version: _exact(weight) for version, weight in weights.items()}
        # 1 - 0.07 is a little less than 0.93: the last version has what is left.
        if (
            not shares
            or any(share < 0 for share in shares.values())
            or abs(sum(shares.values(), Fraction(-1))) > Fraction(1, 10**9)
        ):
            shown = ", ".join(f"{version}: {weight:g}" for version, weight in weights.items())
            raise ValueError(f"weights: got {{{shown}}}; allowed: shares from 0 to 1 that add up to 1")
        ends: list[tuple[int, str]] = []
        until = Fraction(0)
        for version, share in shares.items():
            until += share
            ends.append((min(int(until * _PLACES), _PLACES), version))
        self._ends = [*ends[:-1], (_PLACES, ends[-1][1])]
        # The salt is read once; a key costs a copy of what it made of the hash.
        self._salted = hashlib.blake2b(digest_size=8, key=hashlib.sha256(salt.encode()).digest())

    def place(self, key: bytes) -> int:
        """Where a key lies, 0 to 2^64 - 1."""
        hashed = self._salted.copy()
        hashed.update(key)
        return int.from_bytes(hashed.digest(), "big")

    def choose(self, key: str | bytes) -> str:
        """The version that answers requests of this key."""
        place = self.place(key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key)
        for end, version in self._ends:
            if place < end:
                return version
        raise AssertionError("the last end is behind every place")


def choose(key: str | bytes, weights: Mapping[str, float], *, salt: str) -> str:
    """The version that answers requests of a key; of many keys, `Split` is made once.

    >>> choose("ada", {"2": 0.05, "1": 0.95}, salt="r1") in {"1", "2"}
    True
    """
    return Split(weights, salt=salt).choose(key)


def _exact(weight: float) -> Fraction:
    # As it is written: 0.05 and 0.95 are 1 together, which their binary fractions need not be.
    return Fraction(str(weight))
