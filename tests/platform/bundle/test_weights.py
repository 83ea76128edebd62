"""State dicts through safetensors and back: tied, viewed, empty and half-precision tensors, byte for byte the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from forgeline.bundle.weights import read_weights, write_weights
from forgeline.errors import BundleError


class Tied(nn.Module):
    """A head that is the embedding, as in a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def test_tied_weights_are_stored_once_and_come_back_under_both_names(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = Tied()
    write_weights(path, model.state_dict())
    assert path.stat().st_size < 2 * 15 * 4 + 200
    state = read_weights(path)
    assert set(state) == {"embedding.weight", "head.weight"}
    other = Tied()
    other.load_state_dict(state)
    assert other.head.weight is other.embedding.weight
    assert torch.equal(other.head.weight, model.head.weight)


def test_a_disk_that_takes_nothing_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot write"):
        write_weights(tmp_path, {"weight": torch.ones(2)})


def test_views_and_odd_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    state = {
        "first": base[:6],
        "last": base[6:],
        "transposed": base.reshape(3, 4).T,
        "empty": torch.empty(0, 3),
        "empty2": torch.empty(0, 3),
        "count": torch.tensor(7),
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    path = tmp_path / "w.safetensors"
    write_weights(path, state)
    read = read_weights(path)
    assert set(read) == set(state)
    for name, tensor in state.items():
        assert torch.equal(read[name], tensor.detach()) and read[name].dtype == tensor.dtype, name


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = Tied().state_dict()
    for name in ("a", "b"):
        write_weights(tmp_path / name, state)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(BundleError, match="cannot be read as safetensors"):
        read_weights(path)


@pytest.mark.parametrize("tied", ['{"head": "gone"}', "{", "[1]"])
def test_broken_ties_are_refused(tmp_path: Path, tied: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"tied": tied})
    with pytest.raises(BundleError, match="broken metadata"):
        read_weights(path)
