"""A model with its weakest weights, or its weakest channels, taken out; nothing is trained afterwards.

Single weights: in each layer, those of the smallest magnitude become zero (Han et al. 2015, arXiv:1506.02626, without
the retraining). Channels: the units of each hidden layer whose incoming weights have the smallest norm are removed (Li
et al. 2017, arXiv:1608.08710, section 3.1), so that a smaller model of the same architecture is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeline import plugins
from forgeline.bundle.bundle import Bundle
from forgeline.export.errors import NotExportable
from forgeline.export.formats import Pruning

if TYPE_CHECKING:
    from torch import Tensor, nn


def prune(bundle: Bundle, pruning: Pruning, folder: Path) -> Bundle:
    """A bundle of the pruned model, saved to `folder`.

    Raises:
        NotExportable: channels of this architecture cannot be removed; the message names those of which they can.
    """
    architecture = bundle.manifest.architecture
    if pruning.channels:
        narrow = getattr(plugins.find(plugins.ARCHITECTURES, bundle.name, key="architecture.name"), "narrow", None)
        if narrow is None or bundle.name not in narrowable():
            raise NotExportable(
                f"channels of {bundle.name} cannot be removed; allowed: {', '.join(narrowable())}; single weights can "
                "be made zero in any model: leave out --channels"
            )
        try:
            architecture, state = narrow(bundle.model, architecture, pruning.share)
        except ValueError as error:
            raise NotExportable(f"channels of {bundle.name} cannot be removed: {error}") from error
    else:
        state = _sparse(bundle.model, pruning.share)
    return Bundle.save(
        folder,
        model_state=state,
        architecture=architecture,
        signature=bundle.manifest.signature,
        preprocessing=bundle.preprocessing,
        data=bundle.data,  # the metrics were measured of another model
        run_id=bundle.manifest.run_id,
        reference=bundle.reference,
    )


def narrowable() -> list[str]:
    """Names of the architectures whose channels can be removed."""
    return sorted(
        family.name for family in plugins.descriptors(plugins.ARCHITECTURES) if getattr(family, "narrowing", None)
    )


def _sparse(model: nn.Module, share: float) -> dict[str, Tensor]:
    """The state with the weakest weights of each layer made zero."""
    import copy

    import torch
    from torch import nn

    pruned: Any = copy.deepcopy(model).cpu()
    looked_up = {id(module.weight) for module in pruned.modules() if isinstance(module, nn.Embedding)}
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase)
    with torch.no_grad():
        for module in pruned.modules():
            if not isinstance(module, kinds):
                continue
            for name, weight in module.named_parameters(recurse=False):
                count = round(share * weight.numel())
                # A table of embeddings keeps its rows, though a last layer may share them.
                if not name.startswith("weight") or weight.ndim < 2 or id(weight) in looked_up or count == 0:
                    continue
                weakest = weight.abs().flatten().topk(count, largest=False).indices
                weight.view(-1)[weakest] = 0
    state: dict[str, Tensor] = pruned.state_dict()
    return state
