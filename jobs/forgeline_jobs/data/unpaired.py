"""Pictures of several domains that are no pairs: each beside one of another domain, to be translated into its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.base import Batch, Indices, Keys, Split, as_int64
from forgeline_jobs.data.generation import LABEL
from forgeline_jobs.data.randomness import uniform

SOURCE = "source"


class UnpairedSplit:
    """A split whose classes are domains. A batch has `image`, its domain as `label`, and a `source` of another one.

    In training a sample's source is drawn anew in every epoch; elsewhere it is always the same, and each picture is
    the source of about as many samples as any other.

    Args:
        split: gives a batch with `image`; its `target`, where it has one, is left out.
        domains: [n] of its samples, 0 up to the number of domains.
        attributes: [n, k] what else is in the pictures, and should stay in a translation.
        cardinalities: values of each of these attributes.
    """

    def __init__(
        self,
        split: Split,
        domains: NDArray[np.int64],
        *,
        attributes: NDArray[np.int64] | None = None,
        cardinalities: tuple[int, ...] = (),
    ) -> None:
        self._split = split
        self._domains = domains
        kept = np.empty((len(domains), 0), np.int64) if attributes is None else attributes
        self._attributes = np.concatenate([kept, domains[:, None]], axis=1)
        count = int(domains.max()) + 1
        self.attribute_cardinalities = (*cardinalities, count)
        self._others = [as_int64(np.flatnonzero(domains != domain)) for domain in range(count)]
        self._sources = np.empty_like(domains)
        for domain, others in enumerate(self._others):
            own = np.flatnonzero(domains == domain)
            self._sources[own] = np.resize(others, len(own))

    def __len__(self) -> int:
        return len(self._split)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """The samples at `indices`; both pictures are augmented where keys are given."""
        sources = self._sources[indices] if rng_keys is None else self._drawn(indices, rng_keys)
        image, source = (self._split.batch(rows, rng_keys)["image"] for rows in (indices, sources))
        return {"image": image, SOURCE: source, LABEL: self._domains[indices]}

    def attributes(self, indices: Indices) -> NDArray[np.int64]:
        """[n, k + 1] what is in the pictures at `indices`, and their domain."""
        return self._attributes[indices]

    def asked(self, indices: Indices) -> NDArray[np.int64]:
        """[n, k + 1] what a translation should show: what is in its source, in the domain of the sample."""
        return np.concatenate([self._attributes[self._sources[indices], :-1], self._attributes[indices, -1:]], axis=1)

    def _drawn(self, indices: Indices, keys: Keys) -> Indices:
        shares = uniform(keys, indices, 1, stream=SOURCE)[:, 0]
        others = [self._others[domain] for domain in self._domains[indices].tolist()]
        return as_int64([rows[int(share * len(rows))] for rows, share in zip(others, shares.tolist(), strict=True)])
