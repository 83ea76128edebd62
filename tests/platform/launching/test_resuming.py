"""What a run may go on with."""

from __future__ import annotations

import pytest

from forgeline.errors import UsageError
from forgeline.launching.resuming import check_unchanged
from forgeline.spec.loading import load

STORED = "kind: train\narchitecture: {name: mlp, width: 8}\ndata: {name: digits}\noptimizer: {lr: 0.1}\n"


@pytest.mark.parametrize(
    "given",
    [STORED, STORED.replace("0.1", "0.2"), "kind: train\n", STORED + "labels: {a: b}\n"],
)
def test_the_rest_may_change(given: str) -> None:
    check_unchanged("run1", stored=STORED, given=given)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("train", "toy", r'another kind \("train", now "toy"\);'),
        ("width: 8", "width: 9", r"another architecture.width \(8, now 9\);"),
        (
            "name: mlp, width: 8",
            "name: cnn",
            r'another architecture.name \("mlp", now "cnn"\), architecture.width \(8, now null\);',
        ),
        ("{name: digits}", "{name: digits, seed: 1}", r"another data.seed \(null, now 1\);"),
    ],
)
def test_kind_architecture_and_data_may_not(old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_unchanged("run1", stored=STORED, given=STORED.replace(old, new))
    assert caught.value.exit_code == 2


def test_a_key_that_came_since_the_run_began_is_at_its_default() -> None:
    stored = "kind: train\nname: wine\narchitecture: {name: mlp}\ndata: {name: wine, batch_size: 16}\n"
    now = load(stored).text
    assert "train_on: train" in now
    check_unchanged("run1", stored=stored, given=now)
    with pytest.raises(UsageError, match=r"another data.train_on"):
        check_unchanged("run1", stored=stored, given=now.replace("train_on: train", "train_on: train+val"))
