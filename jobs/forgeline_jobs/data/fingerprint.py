"""sha256 over what the data are: names, dtypes, shapes and values; not over where they lie or what machine reads them.

Text columns count by their values whatever pandas calls their dtype, since that differs between its versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_BYTES = 1 << 20


class Fingerprint:
    """Content is added part by part; every part is named and has its length before it, so that no two run together."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, name: str, content: bytes) -> Fingerprint:
        """Add raw bytes."""
        label = name.encode()
        self._digest.update(b"%d:%s=%d:" % (len(label), label, len(content)))
        self._digest.update(content)
        return self

    def add_array(self, name: str, array: NDArray[Any]) -> Fingerprint:
        """Add numbers, booleans or fixed-width text."""
        if array.dtype.kind in "OUSTM":
            return self.add_texts(name, array.ravel().tolist(), shape=array.shape)
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        return self.add(f"{name}|{plain.dtype.kind}{plain.dtype.itemsize}|{list(plain.shape)}", plain.tobytes())

    def add_texts(self, name: str, values: list[Any], *, shape: tuple[int, ...] | None = None) -> Fingerprint:
        """Add texts; a missing one differs from every text."""
        import pandas as pd

        gone: list[bool] = pd.isna(np.asarray(values, dtype=object)).tolist() if values else []
        parts = [
            b"-" if missing else str(v).encode("utf-8", "surrogatepass")
            for v, missing in zip(values, gone, strict=True)
        ]
        sizes = np.asarray([-1 if missing else len(p) for p, missing in zip(parts, gone, strict=True)], dtype="<i8")
        return self.add(f"{name}|text|{list(shape or (len(values),))}", sizes.tobytes() + b"".join(parts))

    def add_table(self, frame: pd.DataFrame) -> Fingerprint:
        """Add every column in its order."""
        for name in frame.columns:
            values = frame[name].to_numpy()
            self.add_array(f"column {name}", values if values.dtype.kind in "biuf" else values.astype(object))
        return self

    def add_file(self, name: str, path: Path) -> Fingerprint:
        """Add a file's bytes under a name that does not tell where it lies."""
        inner = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                inner.update(chunk)
        return self.add(name, inner.digest())

    def hex(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def fingerprint_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Fingerprint of named arrays."""
    digest = Fingerprint()
    for name in sorted(arrays):
        digest.add_array(name, arrays[name])
    return digest.hex()
