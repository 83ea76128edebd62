"""What a model is asked for, and the way back from its outputs: probabilities, standardised numbers, or errors.

Classes are kept as text, because metrics and files name them so; `label_type` brings a prediction back to the type
that the table had, so that `predictions["prediction"] == table["target"]` means what it says.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from forgeline.errors import DataError, ForgelineError
from forgeline.preprocessing.reading import counted
from forgeline.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating[Any]]


def label_text(value: Any) -> str | None:
    """One label or category as text, None when it is missing; 3, 3.0 and np.int8(3) are all "3"."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        if np.isnan(number):
            return None
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, str):
        return str(value)
    text = str(value)
    return None if text in {"<NA>", "NaT", "nan"} else text


def label_texts(values: Iterable[Any]) -> list[str | None]:
    """Labels as text in their order, None where missing; each distinct value is read once."""
    read: dict[tuple[type, Any], str | None] = {}
    texts: list[str | None] = []
    for value in values:
        if not isinstance(value, Hashable):
            texts.append(str(value))
            continue
        key = (type(value), value)
        if key not in read:
            read[key] = label_text(value)
        texts.append(read[key])
    return texts


class ClassTarget(BaseModel):
    """One of several classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["classes"] = "classes"
    name: str
    classes: tuple[str, ...]
    label_type: Literal["text", "integer", "boolean"] = "text"

    @classmethod
    def fit(cls, name: str, labels: Iterable[Any]) -> ClassTarget:
        """The classes among `labels`, in order: numbers by value, everything else by text."""
        values = list(labels)
        texts = {text for text in label_texts(values) if text is not None}
        if any(isinstance(value, str) for value in values):
            return cls(name=name, classes=tuple(sorted(texts)))
        if texts <= {"True", "False"}:
            return cls(name=name, classes=tuple(sorted(texts)), label_type="boolean")
        if all(text.lstrip("-").isdecimal() for text in texts):
            return cls(name=name, classes=tuple(sorted(texts, key=int)), label_type="integer")
        return cls(name=name, classes=tuple(sorted(texts)))

    def encode(self, labels: Iterable[Any]) -> NDArray[np.int64]:
        """Class numbers.

        Raises:
            DataError: a label is missing or is not one of the classes.
        """
        numbers = {text: number for number, text in enumerate(self.classes)}
        coded = []
        for row, text in enumerate(label_texts(labels)):
            if text is None:
                raise DataError(f"`{self.name}` is missing in {counted('data row', row)}")
            if text not in numbers:
                place = counted("data row", row)
                raise DataError(f"{text!r} in {place} of `{self.name}`: {did_you_mean(text, self.classes)}")
            coded.append(numbers[text])
        return np.asarray(coded, dtype=np.int64)

    def labels(self) -> list[Any]:
        """The classes in the type that the data had."""
        if self.label_type == "integer":
            return [int(text) for text in self.classes]
        if self.label_type == "boolean":
            return [text == "True" for text in self.classes]
        return list(self.classes)

    def decode(self, probabilities: Floats) -> pd.DataFrame:
        """[N, classes] -> `prediction`, its `probability`, and one `probability[class]` each."""
        import pandas as pd

        best = probabilities.argmax(axis=1)
        columns: dict[str, Any] = {
            "prediction": pd.Series(self.labels())[best].to_numpy(),
            "probability": probabilities[np.arange(len(best)), best],
        }
        columns |= {f"probability[{name}]": probabilities[:, number] for number, name in enumerate(self.classes)}
        return pd.DataFrame(columns)

    def columns(self) -> list[dict[str, str]]:
        """Names and types of what `decode` returns."""
        type_ = {"text": "string", "integer": "long", "boolean": "boolean"}[self.label_type]
        numbers = ["probability", *(f"probability[{name}]" for name in self.classes)]
        return [{"name": "prediction", "type": type_}, *({"name": name, "type": "float"} for name in numbers)]


class ScaledTarget(BaseModel):
    """One or more numbers, standardised by the mean and the standard deviation of the train split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["scaled"] = "scaled"
    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    horizon: int | None = None

    @classmethod
    def fit(cls, names: Iterable[str], values: Floats, *, horizon: int | None = None) -> ScaledTarget:
        """Statistics of [N, D] train values."""
        mean, std = standardisation(values)
        return cls(names=tuple(names), mean=mean, std=std, horizon=horizon)

    def encode(self, values: Floats) -> NDArray[np.float32]:
        """[..., D] original units -> standardised."""
        scaled: Floats = (np.asarray(values, dtype=np.float64) - self.mean) / np.asarray(self.std)
        return scaled.astype(np.float32)

    def unscale(self, outputs: Floats) -> NDArray[np.float64]:
        """[..., D] standardised -> original units."""
        values: NDArray[np.float64] = np.asarray(outputs, dtype=np.float64) * np.asarray(self.std) + np.asarray(
            self.mean
        )
        return values

    def decode(self, outputs: Floats) -> pd.DataFrame:
        """[N, D] or [N, H, D] standardised -> the columns of `columns()` in original units."""
        import pandas as pd

        values = self.unscale(outputs)
        return pd.DataFrame(values.reshape(len(values), -1), columns=[c["name"] for c in self.columns()])

    def columns(self) -> list[dict[str, str]]:
        """`prediction`, `prediction[target]` for several, and a step `t+1`… in a forecast."""
        several = len(self.names) > 1
        if self.horizon is None:
            names = [f"prediction[{name}]" for name in self.names] if several else ["prediction"]
        else:
            steps = range(1, self.horizon + 1)
            names = [f"prediction[{f'{n},' if several else ''}t+{step}]" for step in steps for n in self.names]
        return [{"name": name, "type": "double"} for name in names]


class AnomalyTarget(BaseModel):
    """Whether a sample is unlike those that were learnt: the error of its reconstruction is above a threshold.

    Attributes:
        quantile: share of the normal samples that were not trained on whose error is at most the threshold.
        threshold: None until a trained model is there to take it from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["anomaly"] = "anomaly"
    quantile: float
    threshold: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the number is called that a prediction rests on."""
        return ("score",)

    def fitted(self, scores: Floats) -> AnomalyTarget:
        """With the threshold of the scores [N] of normal samples."""
        return self.model_copy(update={"threshold": float(np.quantile(scores, self.quantile))})

    def decode(self, errors: Floats) -> pd.DataFrame:
        """[N, 2] errors of the reconstruction and of what was shown -> `prediction` and the `score` it rests on.

        Raises:
            ForgelineError: there is no threshold yet.
        """
        import pandas as pd

        if self.threshold is None:
            raise ForgelineError("the model has no threshold that tells anomalies; train it to its end")
        score = errors[:, 0].astype(np.float64)
        return pd.DataFrame({"prediction": np.where(score > self.threshold, "anomaly", "normal"), "score": score})

    def columns(self) -> list[dict[str, str]]:
        """Names and types of what `decode` returns."""
        return [{"name": "prediction", "type": "string"}, {"name": "score", "type": "double"}]


Target = Annotated[ClassTarget | ScaledTarget | AnomalyTarget, Field(discriminator="kind")]


def standardisation(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per column of [N, D], NaN left out; a constant column gets the deviation 1."""
    wide = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(wide)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, wide, 0.0).sum(axis=0) / count
    std = np.sqrt(np.where(known, (wide - mean) ** 2, 0.0).sum(axis=0) / count)
    # Rounding leaves a constant column with a deviation that is tiny but not zero.
    std = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-12), std, 1.0)
    return tuple(float(m) for m in mean), tuple(float(s) for s in std)
