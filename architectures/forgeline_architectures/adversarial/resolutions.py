"""Resolutions that double from 4x4 pixels to the size of the pictures, with a width for each; no torch."""

from __future__ import annotations

from collections.abc import Sequence

from forgeline_architectures.signature import Signature

FIRST_SIDE = 4  # pixels along a side of the first resolution


def check_resolutions(widths: Sequence[int], signature: Signature) -> None:
    """Compare the widths of a config with the pictures of the data.

    Raises:
        ValueError: the pictures are not square, or not of the size that the resolutions lead to.
    """
    _, height, width = signature.outputs
    sides = [FIRST_SIDE << level for level in range(len(widths))]
    if (height, width) != (sides[-1], sides[-1]):
        raise ValueError(
            f"architecture.widths has {len(sides)} resolutions ({', '.join(map(str, sides))} pixels), for pictures of "
            f"{sides[-1]}x{sides[-1]}; the data have {height}x{width}: give a width for each doubling from "
            f"{FIRST_SIDE}, or change data.size"
        )
