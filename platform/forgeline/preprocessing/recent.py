"""Labelled samples of a deployment in a file: written beside it, read by the training that goes on from them.

Which of them are held out follows from the request's id alone, so that a sample stays on its side in every retraining:
neither the model that is trained nor the champion, itself retrained from earlier ones, is judged by what it has seen.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import DataError
from forgeline.preprocessing.reading import column, read_arrays, read_table

if TYPE_CHECKING:
    import pandas as pd

REQUEST = "forgeline_request"
"""Column, or array, with the id of the request of each sample."""


def sides(requests: Sequence[str], *, val: float, test: float) -> NDArray[np.str_]:
    """`train`, `val` or `test` for each request, at random by its id.

    Args:
        requests: ids.
        val: share held out to choose by and to be gated on.
        test: share held out for the final result.

    >>> sides(["a", "b", "a"], val=0.3, test=0.3).tolist()
    ['test', 'val', 'test']
    """
    drawn = [int.from_bytes(hashlib.sha256(b"side/" + each.encode()).digest()[:8], "big") / 2**64 for each in requests]
    return np.asarray(
        ["test" if each < test else "val" if each < test + val else "train" for each in drawn], dtype="U5"
    )


def write_rows(path: Path, rows: pd.DataFrame, requests: Sequence[str]) -> None:
    """Rows of a table with their targets, as Parquet; the file is there whole or not at all.

    Args:
        path: where; a file that is there is replaced.
        rows: features and targets by their names.
        requests: ids, one a row.
    """
    import pandas as pd

    ids = pd.Series([str(each) for each in requests], index=rows.index, dtype=object)
    part = _beginning(path)
    rows.assign(**{REQUEST: ids}).to_parquet(part, index=False)
    os.replace(part, path)


def read_rows(path: str | Path, *, key: str) -> tuple[pd.DataFrame, list[str]]:
    """What `write_rows` wrote: rows, and the ids of their requests.

    Raises:
        DataError: there is no such table, or it has no ids.
    """
    frame = read_table(path, key=key)
    ids = column(frame, REQUEST, key=key)
    return frame.drop(columns=[REQUEST]), [str(each) for each in ids]


def write_images(path: Path, images: NDArray[Any], labels: Sequence[Any], requests: Sequence[str]) -> None:
    """Images with their classes, as .npz; the file is there whole or not at all.

    Args:
        path: where; a file that is there is replaced.
        images: [n, h, w] or [n, h, w, c], as the model was asked about them.
        labels: classes, one an image.
        requests: ids, one an image.
    """
    part = _beginning(path)
    texts = {"labels": np.asarray(labels, dtype=str), REQUEST: np.asarray(requests, dtype=str)}
    with open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, images=images, **texts)
    os.replace(part, path)


def read_images(path: str | Path, *, key: str) -> tuple[NDArray[Any], list[str], list[str]]:
    """What `write_images` wrote: images [n, h, w, c], classes, and the ids of their requests.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    arrays = read_arrays(Path(path), key=key)
    if missing := sorted({"images", "labels", REQUEST} - arrays.keys()):
        raise DataError(
            f"`{path}` has no array {missing[0]!r}; it has {', '.join(sorted(arrays)) or 'nothing'}", key=key
        )
    images = arrays["images"]
    images = images[..., None] if images.ndim == 3 else images
    labels, requests = ([str(each) for each in arrays[name].reshape(-1)] for name in ("labels", REQUEST))
    if images.ndim != 4 or not len(images) == len(labels) == len(requests):
        raise DataError(
            f"`{path}` has images {list(images.shape)}, {len(labels)} labels and {len(requests)} ids; "
            "wanted as many of each, images [n, h, w] or [n, h, w, c]",
            key=key,
        )
    return images, labels, requests


def _beginning(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
