"""Windows of one running text: at a random phase for training, over every token once for measuring."""

from __future__ import annotations

from typing import Any

import numpy as np

from forgeline_jobs.data.base import Batch, Indices, Keys
from forgeline_jobs.data.packing import IGNORED
from forgeline_jobs.data.randomness import uniform


class TrainWindows:
    """Windows of `context` tokens that tile the text from a start that differs in every epoch.

    In an epoch every token is seen about once, where windows drawn independently would miss a third of them; over
    epochs a token is seen at every place of the window. The start is a pure function of (seed, epoch).
    """

    def __init__(self, tokens: Indices, context: int) -> None:
        # A view on the tokens, not a copy of every window.
        self._windows = np.lib.stride_tricks.sliding_window_view(tokens.astype(np.int32), context + 1)
        self._context = context
        self._phases: dict[Keys, int] = {}

    def __len__(self) -> int:
        return (len(self._windows) + self._context - 1) // self._context

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`tokens` and the `target` one further on, [n, context]."""
        phase = 0 if rng_keys is None else self._phase(rng_keys)
        both = self._windows[np.minimum(indices * self._context + phase, len(self._windows) - 1)]
        return {"tokens": both[:, :-1].astype(np.int64), "target": both[:, 1:].astype(np.int64)}

    def _phase(self, keys: Keys) -> int:
        if keys not in self._phases:
            number = uniform(keys, np.zeros(1, dtype=np.int64), 1, stream="phase")[0, 0]
            self._phases = {keys: int(number * self._context)}
        return self._phases[keys]

    def __getstate__(self) -> dict[str, Any]:
        # Pickled as it is, the view would be written out as every window.
        return {"tokens": np.append(self._windows[:, 0], self._windows[-1, 1:]), "context": self._context}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class EvalWindows:
    """Windows that do not overlap and leave nothing out: every token but the first is a target exactly once.

    The last window is filled up behind the end of the text, where targets are ignored.
    """

    def __init__(self, tokens: Indices, context: int) -> None:
        windows = -(-(len(tokens) - 1) // context)
        self._context = context
        self._tokens = np.zeros(windows * context, dtype=np.int32)
        self._target = np.full(windows * context, IGNORED, dtype=np.int32)
        self._tokens[: len(tokens) - 1] = tokens[:-1]
        self._target[: len(tokens) - 1] = tokens[1:]

    def __len__(self) -> int:
        return len(self._tokens) // self._context

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`tokens` and `target`, [n, context]."""
        places = indices[:, None] * self._context + np.arange(self._context)
        return {"tokens": self._tokens[places].astype(np.int64), "target": self._target[places].astype(np.int64)}
