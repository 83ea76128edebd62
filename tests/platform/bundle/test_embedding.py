"""Embeddings of every modality: what the last layer reads, one vector per sample, the same by one or by many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image

from forgeline.bundle import Bundle
from forgeline.bundle.carrying import embed_file


def test_of_a_table_is_what_the_last_layer_reads(table_bundle: Bundle, customers: pd.DataFrame) -> None:
    found = table_bundle.embed(customers, batch_size=64)
    assert found.shape == (200, 8) and found.dtype == np.float32
    model: Any = table_bundle.model
    logits = model.head(torch.from_numpy(found)).softmax(-1).detach().numpy()
    columns = [f"probability[{name}]" for name in table_bundle.classes or ()]
    np.testing.assert_allclose(table_bundle.predict(customers)[columns], logits, atol=1e-5)
    np.testing.assert_allclose(table_bundle.embed(customers.iloc[:3]), found[:3], atol=1e-5)


def test_of_pictures(image_bundle: Bundle) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    model: Any = image_bundle.model
    found = image_bundle.embed(pixels, batch_size=2)
    encoded = torch.from_numpy(image_bundle.preprocessing.encode(pixels)["image"])
    with torch.inference_mode():
        torch.testing.assert_close(
            model.network.get_classifier()(torch.from_numpy(found)), model.network(encoded), atol=1e-4, rtol=1e-4
        )


def test_of_series(forecast_bundle: Bundle) -> None:
    table = pd.DataFrame({"hour": pd.date_range("2024-01-01", periods=20, freq="h"), "load": np.arange(20.0)})
    assert forecast_bundle.embed(table).shape == (len(forecast_bundle.predict(table)), 8)


def test_of_texts_does_not_depend_on_longer_ones_beside_them(text_bundle: Bundle) -> None:
    together = text_bundle.embed(["abc", "hgfedcb"])
    np.testing.assert_allclose(together[0], text_bundle.embed(["abc"])[0], atol=1e-5)
    model: Any = text_bundle.model
    tokens = torch.from_numpy(text_bundle.preprocessing.encode(["abc"])["tokens"])
    with torch.inference_mode():
        np.testing.assert_allclose(together[0], model.hidden({"tokens": tokens})[0].mean(0), atol=1e-5)


def test_a_file_keeps_what_tells_its_samples_apart(
    image_bundle: Bundle, table_bundle: Bundle, customers: pd.DataFrame, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (number * 80, 0, 0)).save(pictures / f"{number}.png")
    table = pa.concat_tables(embed_file(image_bundle, pictures, keep=(), batch_size=2))
    assert table.column("path").to_pylist() == [str(pictures / f"{number}.png") for number in range(3)]
    width = table.schema.field("embedding").type.list_size
    stacked = np.asarray(table.column("embedding").combine_chunks().flatten()).reshape(-1, width)
    np.testing.assert_allclose(stacked, image_bundle.embed(pictures), atol=1e-5)
    customers.assign(name=[f"c{row}" for row in range(200)]).to_csv(tmp_path / "rows.csv", index=False)
    kept = pa.concat_tables(embed_file(table_bundle, tmp_path / "rows.csv", keep=("name",), batch_size=256))
    assert kept.column_names == ["name", "embedding"] and kept.column("name").to_pylist()[-1] == "c199"


def test_of_nodes_is_what_the_last_layer_reads(graph_bundle: Bundle, graph: dict[str, Any]) -> None:
    found = graph_bundle.embed(graph | {"nodes": np.asarray([1, 4])})
    assert found.shape == (2, 16)
    np.testing.assert_allclose(found, graph_bundle.embed(graph)[[1, 4]], atol=1e-6)
    model: Any = graph_bundle.model
    arrays = {name: torch.from_numpy(array) for name, array in graph_bundle.preprocessing.encode(graph).items()}
    with torch.inference_mode():
        last = model.layers[-1](torch.from_numpy(graph_bundle.embed(graph)), arrays["edges"].t())
        torch.testing.assert_close(last, model(arrays))


def test_of_a_pair_of_nodes_is_the_product_that_tells_a_link(links_bundle: Bundle, graph: dict[str, Any]) -> None:
    asked = graph | {"pairs": np.asarray([[1, 2, 5], [4, 3, 9]])}
    found = links_bundle.embed(asked)
    assert found.shape == (3, 64)
    linked = 1 / (1 + np.exp(-found.sum(1)))
    np.testing.assert_allclose(links_bundle.predict(asked)["probability[True]"], linked, rtol=1e-4)
