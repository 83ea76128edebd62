"""Data as a spec means them: splits that are trained on together, and what is refused then."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from forgeline.errors import DataError, SpecError
from forgeline.spec.loading import load
from forgeline_jobs.data.base import as_int64
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.preparation import prepare
from forgeline_jobs.train.spec import TrainSpec


def spec(data: dict[str, Any], **changed: Any) -> TrainSpec:
    fields = {
        "kind": "train",
        "name": "both",
        "architecture": {"name": "mlp"},
        "data": {"train_on": "train+val", **data},
        "checkpoint": {"select": "last"},
    }
    return cast(TrainSpec, load(fields | changed).spec)


@pytest.mark.parametrize("name", ["wine", "mnist1d", "digits"])
def test_train_has_the_samples_of_val_behind_its_own(name: str) -> None:
    config = spec({"name": name}).data
    both, alone = prepare(config), prepare(config.model_copy(update={"train_on": "train"}))
    train, val = (alone.splits[split] for split in ("train", "val"))
    assert len(both.splits["train"]) == len(train) + len(val)
    assert both.fingerprint == alone.fingerprint
    last = both.splits["train"].batch(as_int64([len(train) + 3]))
    for key, array in val.batch(as_int64([3])).items():
        np.testing.assert_array_equal(last[key], array)


@pytest.mark.parametrize("data", [{"name": "cora"}, {"name": "tinyshakespeare"}])
def test_data_that_cannot_be_joined_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"got train\+val; the splits of .* cannot be joined") as refused:
        prepare(spec(data).data)
    assert refused.value.key == "data.train_on"


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"checkpoint": {"select": "best"}}, "checkpoint.select"),
        ({"register": {"model": "wine", "gate": {"metric": "val/loss", "at_most": 1}}}, "register.gate"),
    ],
)
def test_what_was_trained_on_chooses_and_judges_nothing(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError) as refused:
        TrainKind().check(spec({"name": "wine"}, **changed))
    assert refused.value.key == key
