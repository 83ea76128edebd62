"""Handwritten digits as graphs: a node for each pixel with ink, joined to those next to it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgeline.preprocessing import ClassTarget
from forgeline_jobs.data.base import PreparedData
from forgeline_jobs.data.graphs import CollectionConfig, prepare_collection
from forgeline_jobs.data.splits import stratified_split

# The eight neighbours of a pixel, as steps (down, right); an edge has a one for the step that it makes.
STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class DigitGraphsConfig(CollectionConfig):
    """The digits of `digits` (Alpaydin & Kaynak 1998), each as a graph of its pixels with ink."""

    name: Literal["digit-graphs"] = "digit-graphs"
    batch_size: int = Field(default=64, ge=1, description="Graphs per optimiser step, over all workers together.")


def prepare_digit_graphs(config: DigitGraphsConfig) -> PreparedData:
    """1,797 graphs."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    classes = bunch.target.astype(np.int64)
    return prepare_collection(
        pixel_graphs(bunch.images),
        classes,
        target=ClassTarget.fit("digit", range(10)),
        indices=stratified_split(classes, config.split),
        config=config,
    )


def pixel_graphs(images_NHW: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """A graph of each picture, as `prepare_collection` takes them.

    Nodes are the pixels above 0, with their share of the brightest value, and how far down and right they are, from 0
    to 1. Edges go from each to those next to it, also across corners, with the step as one of eight.
    """
    inked = images_NHW > 0
    count, height, width = images_NHW.shape
    number = np.full((count, height + 2, width + 2), -1, dtype=np.int64)  # with an edge of no nodes around
    number[:, 1:-1, 1:-1][inked] = np.arange(inked.sum())
    edges, kinds = [], []
    for kind, (down, right) in enumerate(STEPS):
        there = number[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width][inked]
        linked = np.flatnonzero(there >= 0)
        # From the neighbour to the pixel: the message says in which direction it has come.
        edges.append(np.stack([there[linked], linked]))
        kinds.append(np.full(len(linked), kind))
    graph, *place = np.nonzero(inked)
    features = [images_NHW[inked] / images_NHW.max(), place[0] / (height - 1), place[1] / (width - 1)]
    return {
        "x": np.stack(features, axis=1).astype(np.float32),
        "edge_index": np.concatenate(edges, axis=1),
        "edge_attr": np.eye(len(STEPS), dtype=np.float32)[np.concatenate(kinds)],
        "graph": graph,
    }
