"""PNG and JPEG files from anybody, looked at before they are decoded: a small file must not become a huge image."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from forgeline.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")


def opened(content: bytes, *, most_pixels: int) -> Image:
    """A picture whose head was read, and no more.

    Raises:
        DataError: it is no PNG or JPEG file, or has more pixels than allowed.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{len(content)} bytes are no picture that can be read; allowed: PNG or JPEG") from error
    if image.width * image.height > most_pixels:
        raise DataError(
            f"the picture is {image.height}x{image.width} (height x width), {image.width * image.height:,} pixels; "
            f"allowed: at most {most_pixels:,} (serve.max_pixels)"
        )
    return image
