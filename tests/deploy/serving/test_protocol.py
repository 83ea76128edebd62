"""The Open Inference Protocol, asked in the bytes that its clients send: those of KServe's JSON, and Triton's binary.

Examples: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
"""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from forgeline.bundle import Bundle
from forgeline_deploy.serving.tensors import HEADER_LENGTH, TYPES
from tests.deploy.serving.conftest import ROW, Local

INFER = "/v2/models/model/infer"


def column(name: str, datatype: str, *data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data)}


def customers(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Two rows of the table, by column."""
    columns = {
        "age": column("age", "INT64", 44, 20),
        "usage": column("usage", "FP64", 12.5, 3.25),
        "income": column("income", "FP32", None, 30_000),
        "plan": column("plan", "BYTES", "pro", "basic"),
    }
    return [*(columns | changed).values()]


ROWS = [ROW, {"age": 20, "usage": 3.25, "income": 30_000, "plan": "basic"}]


def outputs(answer: httpx.Response) -> dict[str, list[Any]]:
    """Of either form, by name."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(HEADER_LENGTH)
    text, binary = (answer.content, b"") if length is None else split(answer.content, int(length))
    found = {}
    for one in json.loads(text)["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[one["name"]] = one["data"]
            continue
        assert "data" not in one
        raw, binary = split(binary, size)
        if one["datatype"] == "BYTES":
            found[one["name"]] = [text.decode() for text in elements(raw)]
        else:
            found[one["name"]] = np.frombuffer(raw, TYPES[one["datatype"]]).reshape(one["shape"]).tolist()
    assert not binary
    return found


def split(content: bytes, at: int) -> tuple[bytes, bytes]:
    return content[:at], content[at:]


def elements(raw: bytes) -> list[bytes]:
    found = []
    while raw:
        [length] = struct.unpack("<I", raw[:4])
        one, raw = split(raw[4:], length)
        found.append(one)
    return found


def packed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def binary(inputs: list[tuple[str, str, list[int], bytes]], **more: Any) -> dict[str, Any]:
    """A request as Triton's client for HTTP makes it."""
    head = json.dumps(
        {
            "inputs": [
                {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
                for name, datatype, shape, raw in inputs
            ],
            **more,
        }
    ).encode()
    body = head + b"".join(raw for *_, raw in inputs)
    headers = {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
    return {"content": body, "headers": headers}


def test_what_the_server_and_the_model_tell_of_themselves(table: Local, images: Local, series: Local) -> None:
    assert table.ask("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]
    assert table.ask("GET", "/v2/health/live").json() == {"live": True}
    assert table.ask("GET", "/v2/health/ready").json() == {"ready": True}
    assert table.ask("GET", "/v2/models/model/ready").json() == {"name": "model", "ready": True}
    told = table.ask("GET", "/v2/models/model").json()
    assert told == table.ask("GET", "/v2/models/model/versions/1").json()
    assert (told["name"], told["versions"], told["platform"]) == ("model", ["1"], "forgeline_bundle")
    assert {one["name"]: one["datatype"] for one in told["inputs"]} == {
        "age": "FP64", "usage": "FP64", "income": "FP64", "plan": "BYTES"
    }  # fmt: skip
    assert [one["shape"] for one in told["outputs"]] == [[-1]] * len(told["outputs"])
    asked = outputs(table.ask("POST", INFER, json={"inputs": customers()}))
    assert list(asked) == [one["name"] for one in told["outputs"]]
    assert images.ask("GET", "/v2/models/model").json()["inputs"][0]["shape"] == [-1, 8, 8, 1]
    assert series.ask("GET", "/v2/models/model").json()["inputs"][0]["shape"] == [-1, -1, 2]


def test_a_table_as_json_with_a_gap(table: Local, bundle: Bundle) -> None:
    answer = table.ask("POST", INFER, json={"id": "mine", "inputs": customers()})
    expected = bundle.predict(ROWS)
    assert outputs(answer)["probability[yes]"] == pytest.approx(list(expected["probability[yes]"]))
    assert outputs(answer)["prediction"] == list(expected["prediction"])
    told = answer.json()
    assert (told["model_name"], told["model_version"], told["id"]) == ("model", "1", "mine")


def test_a_table_as_bytes_with_chosen_outputs_in_both_forms(table: Local, bundle: Bundle) -> None:
    inputs = [
        ("plan", "BYTES", [2, 1], packed(b"pro", b"basic")),
        ("age", "UINT8", [2, 1], bytes([44, 20])),
        ("usage", "FP16", [2, 1], np.asarray([12.5, 3.25], "<f2").tobytes()),
        ("income", "FP64", [2, 1], np.asarray([np.nan, 30_000]).tobytes()),
    ]
    wanted = [{"name": "prediction", "parameters": {"binary_data": True}}, {"name": "probability[yes]"}]
    answer = table.ask("POST", INFER, **binary(inputs, outputs=wanted))
    expected = bundle.predict(ROWS)
    assert outputs(answer) == {
        "prediction": list(expected["prediction"]),
        "probability[yes]": pytest.approx(list(expected["probability[yes]"])),
    }
    every = table.ask("POST", INFER, **binary(inputs, parameters={"binary_data_output": True}))
    assert every.headers["Content-Type"] == "application/octet-stream"
    assert outputs(every)["probability[yes]"] == pytest.approx(list(expected["probability[yes]"]), rel=1e-6)


def test_a_named_version(table: Local) -> None:
    path = "/v2/models/model/versions/1/infer"
    assert table.ask("POST", path, json={"inputs": customers()}).status_code == 200
    for wrong in ("/v2/models/model/versions/2/infer", "/v2/models/other/infer"):
        answer = table.ask("POST", wrong, json={"inputs": customers()})
        assert answer.status_code == 404 and "served: " in answer.json()["error"]


def test_images_as_json_flat_or_nested_and_as_bytes(images: Local, pictures: Bundle) -> None:
    pixels = np.random.default_rng(2).integers(0, 17, (3, 8, 8, 1))
    expected = pytest.approx(list(pictures.predict(pixels)["probability[3]"]))
    for data in (pixels.tolist(), pixels.reshape(-1).tolist()):
        one = {"name": "image", "shape": [3, 8, 8, 1], "datatype": "FP32", "data": data}
        assert outputs(images.ask("POST", INFER, json={"inputs": [one]}))["probability[3]"] == expected
    for datatype in ("UINT8", "FP32", "INT64", "FP16"):
        raw = pixels.astype(TYPES[datatype]).tobytes()
        answer = images.ask("POST", INFER, **binary([("image", datatype, [3, 8, 8, 1], raw)]))
        assert outputs(answer)["probability[3]"] == expected


def test_series_with_a_gap_and_texts(series: Local, texts: Local) -> None:
    steps = [[1.0, 2.0], [3.0, None], [5.0, 6.0], [0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    one = {"name": "series", "shape": [1, 6, 2], "datatype": "FP64", "data": [steps]}
    expected = series.ask("POST", "/predict", json={"instances": [steps]}).json()["predictions"][0]
    answer = outputs(series.ask("POST", INFER, json={"inputs": [one]}))
    assert {name: values[0] for name, values in answer.items()} == pytest.approx(expected)
    found = outputs(texts.ask("POST", INFER, **binary([("text", "BYTES", [2], packed(b"abc", "hü".encode()))])))
    assert found["prediction"] == list(texts.bundle.predict(["abc", "hü"])["prediction"])


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"age": column("age", "BYTES", "a", "b")}, "age.datatype", "got the text 'BYTES'"),
        ({"plan": column("plan", "FP32", 1, 2)}, "plan.datatype", "allowed: BYTES"),
        ({"age": column("age", "float32", 1, 2)}, "age.datatype", "got the text 'float32'"),
        ({"age": column("age", "INT8", 300, 1)}, "age.data", "is no INT8 data"),
        ({"age": column("age", "INT64", 1.5, 1)}, "age.data", "is no INT64 data"),
        ({"age": column("age", "INT64", None, 1)}, "age.data", "no number"),
        ({"age": column("age", "FP64", "44", 1)}, "age.data", "no number"),
        ({"age": column("age", "FP32", 1e300, 1)}, "age[0]", "got inf"),
        ({"age": column("age", "FP64", 1e200, 1)}, "age", "huge number"),
        ({"age": column("age", "FP64", 1)}, "inputs", "[1, 2] samples"),
        ({"age": column("agee", "FP64", 1, 2)}, "inputs[0].name", "'agee'"),
        ({"age": column("usage", "FP64", 1, 2)}, "inputs[1].name", "each once"),
        ({"age": {**column("age", "FP64", 1, 2), "shape": [2, 2]}}, "age.shape", "[n] or [n, 1]"),
        ({"age": {**column("age", "FP64", 1, 2), "shape": [3]}}, "age.data", "allowed: 3 numbers"),
        ({"age": {**column("age", "FP64", 1, 2), "shape": "2"}}, "age.shape", "sizes"),
        ({"age": {"name": "age", "datatype": "FP64", "shape": [2]}}, "age.data", "got null"),
        ({"age": {**column("age", "FP64"), "parameters": {"binary_data_size": 16}}}, "age.binary_data_size", "0 to 0"),
        ({"plan": column("plan", "BYTES", "a", 1)}, "plan.data", "list of texts"),
        ({"plan": column("plan", "BYTES", "a", "\ud800")}, "plan", "no UTF-8"),
    ],
)
def test_a_wrong_tensor_is_refused_by_its_name(
    table: Local, changed: dict[str, dict[str, Any]], field: str, message: str
) -> None:
    body = json.dumps({"inputs": customers(**changed)}).encode()
    answer = table.ask("POST", INFER, content=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert message in answer.json()["error"]


def test_a_missing_tensor_and_an_unknown_output(table: Local) -> None:
    answer = table.ask("POST", INFER, json={"inputs": customers()[1:]})
    assert answer.status_code == 422 and answer.json()["field"] == "age" and "is missing" in answer.json()["error"]
    answer = table.ask("POST", INFER, json={"inputs": customers(), "outputs": [{"name": "logits"}]})
    assert answer.status_code == 422 and answer.json()["field"] == "outputs" and "'logits'" in answer.json()["error"]


def test_wrong_bytes_are_refused_by_the_name_of_their_tensor(images: Local, texts: Local) -> None:
    pixels = np.zeros((1, 8, 8, 1), "<f4")
    for shape, raw, field in (
        ([1, 8, 8, 1], pixels.tobytes()[:-4], "image"),
        ([1, 9, 8, 1], np.zeros(72, "<f4").tobytes(), "image"),
        ([8, 8], np.zeros(64, "<f4").tobytes(), "image"),
        ([1, 8, 8, 1], (pixels + np.nan).tobytes(), "image[0][0][0][0]"),
        ([0, 8, 8, 1], b"", "image"),
    ):
        answer = images.ask("POST", INFER, **binary([("image", "FP32", shape, raw)]))
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    for raw in (packed(b"abc")[:-1], b"\xff\xff\xff\xff", packed(b"\xff"), packed(b"a", b"b")):
        answer = texts.ask("POST", INFER, **binary([("text", "BYTES", [1], raw)]))
        assert (answer.status_code, answer.json()["field"]) == (422, "text"), answer.text


def test_a_wrong_length_of_the_head_or_bytes_that_belong_to_nobody(images: Local) -> None:
    request = binary([("image", "FP32", [1, 8, 8, 1], np.zeros(64, "<f4").tobytes())])
    for length in ("-1", "abc", "99999999", "10", ""):
        answer = images.ask("POST", INFER, content=request["content"], headers={HEADER_LENGTH: length})
        assert answer.status_code == 400, answer.text
    answer = images.ask("POST", INFER, content=request["content"] + b"more", headers=request["headers"])
    assert answer.status_code == 400 and "4 bytes are left" in answer.json()["error"]
