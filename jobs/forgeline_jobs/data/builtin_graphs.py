"""Cora, the citation graph, from the package's own file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from forgeline.preprocessing import ClassTarget
from forgeline.preprocessing.reading import read_arrays
from forgeline_jobs.data.base import SPLITS, PreparedData, as_int64
from forgeline_jobs.data.graph import NodesConfig, prepare_nodes
from forgeline_jobs.data.links import prepare_links
from forgeline_jobs.data.splits import SplitIndices

_FILE = Path(__file__).parent / "files" / "cora.npz"


class CoraConfig(NodesConfig):
    """Papers on machine learning that cite each other (McCallum et al. 2000), split as in Planetoid (2016)."""

    name: Literal["cora"] = "cora"
    batch_size: int = Field(
        default=140, ge=1, description="Nodes, or links, per optimiser step; 140 are all nodes of train."
    )


def prepare_cora(config: CoraConfig) -> PreparedData:
    """140 train, 500 val, 1,000 test; rows of words sum to 1. Of its links, 5,278 in all, 5 % are val and 10 % test."""
    arrays = read_arrays(_FILE, key="data.name")
    if config.predict == "links":
        return prepare_links(arrays, config=config, normalise_rows=True)
    indices = {name: as_int64(np.sort(arrays[name])) for name in SPLITS}
    return prepare_nodes(
        arrays,
        as_int64(arrays["y"]),
        target=ClassTarget.fit("subject", range(7)),
        indices=SplitIndices(train=indices["train"], val=indices["val"], test=indices["test"]),
        config=config,
        normalise_rows=True,
    )
