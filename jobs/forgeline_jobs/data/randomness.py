"""Random numbers that depend on nothing but (seed, epoch, sample index): no generator has a state to lose or share.

A counter is mixed by the finaliser of SplitMix64 (Steele, Lea & Flood 2014, fig. 17), which passes BigCrush. So a
sample is augmented in the same way whichever worker loads it, in whatever batch, before or after a resume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.base import Indices, Keys

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_FULL = 0xFFFFFFFFFFFFFFFF


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def uniform(keys: Keys, indices: Indices, count: int, *, stream: str) -> NDArray[np.float64]:
    """[n, count] numbers in [0, 1) for the samples at `indices`; another `stream` gives independent numbers."""
    seed, epoch = keys
    key = np.asarray([seed & _FULL], dtype=np.uint64)
    for part in (epoch, int.from_bytes(stream.encode()[:8], "little")):
        key = _mix(key + _GOLDEN + np.uint64(part & _FULL))
    samples = _mix(key + (indices.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    places = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    bits = _mix(samples[:, None] + places)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(keys: Keys, indices: Indices, count: int, *, stream: str) -> NDArray[np.float32]:
    """[n, count] standard normal numbers, by Box and Muller's transform."""
    half = -(-count // 2)
    numbers = uniform(keys, indices, 2 * half, stream=stream)
    radius = np.sqrt(-2.0 * np.log1p(-numbers[:, :half]))
    angle = 2.0 * np.pi * numbers[:, half:]
    both: NDArray[Any] = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]
    return both.astype(np.float32)


def permutation(length: int, *, seed: int, epoch: int) -> Indices:
    """The order of an epoch: a pure function of (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(length).astype(np.int64)
