"""Pictures with captions: pixels by the image preprocessing, captions word by word.

The words' first numbers are padding, start and end, as in every vocabulary of pairs. A caption is closed by the end
token and filled up with padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.errors import DataError
from forgeline.preprocessing.base import Arrays, FittedPreprocessing
from forgeline.preprocessing.image import ImagePreprocessing
from forgeline.preprocessing.pairs import END, PADDING, Ids
from forgeline.preprocessing.reading import counted
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_RESERVED = 3


class CaptionPreprocessing(FittedPreprocessing):
    """`image` [n, C, H, W] float32 from pictures; captions into tokens [n, L] int64 and back.

    Attributes:
        image: of the pictures.
        words: the vocabulary, numbered from 3.
        length: most tokens of a caption, the end token counted.
        known: captions that a picture is named by, where a model does not write its own but finds the closest.
    """

    kind: Literal["captions"] = "captions"
    image: ImagePreprocessing
    words: tuple[str, ...]
    length: int = Field(ge=2)
    known: tuple[str, ...] = ()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=_RESERVED)}

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, the reserved ones included."""
        return _RESERVED + len(self.words)

    def encode(self, raw: Any) -> Arrays:
        """Pictures, as the image preprocessing takes them -> `image`.

        Raises:
            DataError: one cannot be decoded, or has another size.
        """
        return self.image.encode(raw)

    def encode_captions(self, captions: Iterable[str]) -> Ids:
        """[n, length] tokens of captions.

        Raises:
            DataError: one is empty, too long, or has a word that the training data do not have.
        """
        rows = [self._row(caption.split(), number) for number, caption in enumerate(captions)]
        tokens = np.full((len(rows), self.length), PADDING, dtype=np.int64)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return tokens

    def decode_tokens(self, tokens: Ids) -> str:
        """One caption up to its end token."""
        words = []
        for token in tokens.tolist():
            if token in (PADDING, END):
                break
            # A model may write the start token; it is no word.
            words += [self.words[token - _RESERVED]] if token >= _RESERVED else []
        return " ".join(words)

    def decode(self, outputs: NDArray[Any]) -> pd.DataFrame:
        """Tokens [n, L] of captions -> their text; probabilities [n, known] -> the likeliest caption."""
        import pandas as pd

        outputs = np.asarray(outputs)
        if self.known:
            best = outputs.argmax(axis=1)
            prediction = pd.Series([self.known[number] for number in best], dtype=object)
            return pd.DataFrame({"prediction": prediction, "probability": outputs[np.arange(len(best)), best]})
        return pd.DataFrame({"prediction": [self.decode_tokens(row) for row in outputs]}, dtype=object)

    def encode_condition(self, name: str, values: Sequence[Any]) -> Ids:
        """The tokens [n, length] of captions that samples are asked for.

        Raises:
            DataError: the model has no such condition, or a caption cannot be read.
        """
        if name != "caption":
            raise DataError(f"the data have no condition {name!r}; pictures are asked for by `caption`")
        return self.encode_captions(str(value) for value in values)

    def decode_samples(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """[n, C, H, W] pictures as a model makes them -> [n, H, W, C], 0 to 255."""
        return self.image.decode_samples(samples)

    def read(self, path: str | Path) -> list[Path] | NDArray[Any]:
        """A picture, a folder of pictures, or the `images` of an .npz file."""
        return self.image.read(path)

    def row_labels(self, raw: Any) -> pd.DataFrame:
        """The path of each picture that came from a file."""
        return self.image.row_labels(raw)

    def schema(self) -> dict[str, Any]:  # type: ignore[override]  # pydantic's own is deprecated
        """Shape and units of the pixels in, one column of text out."""
        return {
            "kind": "captions",
            "inputs": self.image.schema()["inputs"],
            "outputs": [
                {"name": "prediction", "type": "string"},
                *([{"name": "probability", "type": "float"}] if self.known else []),
            ],
            "vocabulary": self.vocabulary_size,
            "longest": self.length - 1,
        }

    def _row(self, words: Sequence[str], number: int) -> list[int]:
        if not 1 <= len(words) < self.length:
            raise DataError(
                f"{counted('caption', number)} has {len(words)} words; allowed: 1 to {self.length - 1}, the most that "
                "the training data have"
            )
        try:
            return [*(self._numbers[word] for word in words), END]
        except KeyError as error:
            raise DataError(
                f"{counted('caption', number)} has the word {error.args[0]!r}, which the training data do not have; "
                f"{did_you_mean(error.args[0], self.words)}"
            ) from error
