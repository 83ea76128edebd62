"""The HTTP interface before an engine in this process: what is answered, and what is refused with which words."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forgeline.bundle import Bundle
from forgeline_deploy.serving.lane import ReplicaLost
from tests.deploy.serving.conftest import ROW, Local


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def png(array: Any, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(stream, format=form)
    return stream.getvalue()


def test_rows_are_predicted_as_the_bundle_predicts_them(table: Local, bundle: Bundle) -> None:
    rows = [ROW, ROW | {"plan": "of another world", "age": 18}]
    answer = table.ask("POST", "/predict", json={"instances": rows}, headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 200
    told = answer.json()
    pd.testing.assert_frame_equal(pd.DataFrame(told["predictions"]), bundle.predict(rows), check_dtype=False)
    assert (told["model"], told["version"], told["request_id"]) == ("model", "1", "mine-1")
    assert (answer.headers["X-Request-Id"], answer.headers["X-Model-Version"]) == ("mine-1", "1")


def test_requests_that_come_together_each_get_their_own_rows(table: Local, bundle: Bundle) -> None:
    ages = [20 + 5 * number for number in range(12)]
    found = table.together([("POST", "/predict", {"json": {"instances": [ROW | {"age": age}]}}) for age in ages])
    expected = bundle.predict([ROW | {"age": age} for age in ages])["probability[yes]"]
    assert [one.json()["predictions"][0]["probability[yes]"] for one in found] == pytest.approx(list(expected))
    assert len({one.headers["X-Request-Id"] for one in found}) == 12


@pytest.mark.parametrize(
    ("instance", "field", "message"),
    [
        ({**ROW, "age": "old"}, "instances[0].age", "got the text 'old'; allowed: a number, or null"),
        ({**ROW, "age": [1]}, "instances[0].age", "got a list"),
        ({**ROW, "age": 10**400}, "instances[0].age", "huge number"),
        ({**ROW, "plan": {}}, "instances[0].plan", "got an object; allowed: a text or a number"),
        ({"agee": 1, "usage": 1, "income": 1, "plan": ""}, "instances[0].age", "is missing"),
        ("row", "instances[0]", "got the text 'row'; allowed: an object"),
    ],
)
def test_a_wrong_row_is_refused_by_name(table: Local, instance: Any, field: str, message: str) -> None:
    answer = table.ask("POST", "/predict", json={"instances": [instance]})
    assert answer.status_code == 422 and answer.json()["field"] == field and message in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b'{"instances": [NaN]}', 400, "NaN is not a number in JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"instances": ' + b"9" * 5000 + b"}", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[]", 422, "allowed: an object"),
        (b"{}", 422, "is missing"),
        (b'{"instances": []}', 422, "an empty list"),
        (b'{"instances": {}, "x": 1}', 422, "unknown key"),
        (json.dumps({"instances": [ROW] * 33}).encode(), 422, "got 33 samples; allowed: 1 to 32"),
        (json.dumps({"instances": [ROW | {"age": 1e30}]}).replace("1e+30", "1e999").encode(), 422, "huge"),
    ],
)
def test_a_body_that_is_no_list_of_samples(table: Local, body: bytes, status: int, message: str) -> None:
    answer = table.ask("POST", "/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and message in answer.json()["error"], answer.text


def test_pictures_in_every_form_get_the_same_answer(images: Local, pictures: Bundle) -> None:
    pixels = np.random.default_rng(1).integers(0, 17, (8, 8))
    expected = pictures.predict(pixels[None])["probability[3]"][0]
    forms: list[dict[str, Any]] = [
        {"json": {"instances": [pixels.tolist()]}},
        {"json": {"instances": [pixels[..., None].tolist()]}},
        {"content": npy(pixels), "headers": {"Content-Type": "application/x-npy"}},
        {
            "content": npy(np.asfortranarray(pixels[None].astype(">f4"))),
            "headers": {"Content-Type": "application/x-npy"},
        },
        {"content": npz(images=pixels[None]), "headers": {"Content-Type": "application/x-npz"}},
    ]
    for form in forms:
        answer = images.ask("POST", "/predict", **form)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["probability[3]"] == pytest.approx(expected)
    # A file has 0 to 255 for the model's 0 to 16.
    file = png(pixels * 255 // 16)
    sent = [
        {"content": file, "headers": {"Content-Type": "image/png"}},
        {"json": {"instances": [{"b64": base64.b64encode(file).decode()}]}},
    ]
    as_file = pictures.predict([Image.open(io.BytesIO(file))])["probability[3]"][0]
    for form in sent:
        answer = images.ask("POST", "/predict", **form)
        assert answer.json()["predictions"][0]["probability[3]"] == pytest.approx(as_file)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("application/x-npy", npy(np.zeros((8, 9))), "allowed: [8, 8]"),
        ("application/x-npy", npy(np.full((8, 8), np.nan)), "got nan; allowed: finite numbers"),
        ("application/x-npy", npy(np.full((8, 8), 255)), "trained on pixels from 0 to 16"),
        ("application/x-npy", npy(np.zeros((8, 8)))[:-1], "got 511 bytes for an array of 512"),
        ("application/x-npy", npy(np.array([["a"]])), "allowed: whole numbers, floats"),
        ("application/x-npy", b"\x93NUMPY\x01\x00\xff\xff", "is no .npy file"),
        ("application/x-npy", b"", "is no .npy file"),
        ("application/x-npz", npz(pictures=np.zeros((1, 8, 8))), "is missing; the file has pictures.npy"),
        ("application/x-npz", npz(images=np.zeros((300_000, 8, 16))), "unpacks to"),
        ("application/x-npz", b"PK\x03\x04", "is no .npz file"),
        ("image/png", b"GIF89a", "are no picture"),
        ("image/png", png(np.zeros((200, 200))), "40,000 pixels; allowed: at most 10,000"),
        ("image/png", png(np.zeros((9, 8))), "got the shape [9, 8]"),
        ("image/jpeg", png(np.zeros((8, 8)), "GIF"), "allowed: PNG or JPEG"),
    ],
)
def test_arrays_and_files_that_are_refused(images: Local, kind: str, content: bytes, message: str) -> None:
    answer = images.ask("POST", "/predict", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422 and message in answer.json()["error"], answer.text


def test_a_file_that_breaks_while_it_is_decoded_costs_nobody_else_the_answer(images: Local) -> None:
    whole = png(np.random.default_rng(0).integers(0, 255, (8, 8)))
    broken = whole[:45]
    requests = [
        ("POST", "/predict", {"content": content, "headers": {"Content-Type": "image/png"}})
        for content in (whole, broken, whole)
    ]
    answers = images.together(requests)
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert "cannot be decoded" in answers[1].json()["error"]


def test_what_is_no_type_that_is_taken(images: Local) -> None:
    answer = images.ask("POST", "/predict", content=b"x", headers={"Content-Type": "application/pickle"})
    assert answer.status_code == 415 and "allowed: application/json, application/x-npy" in answer.json()["error"]
    answer = images.ask("POST", "/predict", content=b"x", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_a_large_body_is_refused_before_it_is_read(bundle: Bundle) -> None:
    small = Local(bundle, max_body="1KiB")
    answer = small.ask("POST", "/predict", content=b"x" * 2000)
    assert answer.status_code == 413 and "allowed: 1KiB" in answer.json()["error"]

    async def chunks() -> Any:
        for _ in range(1000):
            yield b"x" * 100

    assert small.ask("POST", "/predict", content=chunks()).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(table: Local) -> None:
    import asyncio

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    assert table.ask("POST", "/predict", content=slow()).status_code == 408


def test_a_token_is_asked_for_everywhere_but_by_load_balancers(bundle: Bundle) -> None:
    token = "a-token-of-this-deployment"
    guarded = Local(bundle, token_sha256=hashlib.sha256(token.encode()).digest())
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {token}"}):
        answer = guarded.ask("POST", "/predict", json={"instances": [ROW]}, headers=headers)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.ask("GET", "/metrics").status_code == 401
    assert guarded.ask("GET", "/v2/health/ready").status_code == 200
    right = {"Authorization": f"Bearer {token}"}
    assert guarded.ask("POST", "/predict", json={"instances": [ROW]}, headers=right).status_code == 200


def test_an_id_that_would_break_a_header_is_replaced(table: Local) -> None:
    answer = table.ask("GET", "/healthz", headers={"X-Request-Id": "a b"})
    assert answer.headers["X-Request-Id"] not in ("", "a b")


def test_metrics_tell_of_requests_batches_queue_and_version(bundle: Bundle) -> None:
    own = Local(bundle)
    own.ask("POST", "/predict", json={"instances": [ROW, ROW]})
    own.ask("POST", "/predict", content=b"")
    own.ask("GET", "/a/path/of/an/attacker")
    text = own.ask("GET", "/metrics").text
    for line in (
        'forgeline_requests_total{endpoint="/predict",status="200",version="1"} 1.0',
        'forgeline_requests_total{endpoint="/predict",status="400",version="1"} 1.0',
        'forgeline_requests_total{endpoint="other",status="404",version=""} 1.0',
        'forgeline_batch_samples_sum{version="1"} 2.0',
        'forgeline_request_seconds_count{endpoint="/predict",version="1"} 2.0',
        'forgeline_queue_samples{version="1"} 0.0',
        f'forgeline_model_info{{digest="{bundle.digest}",model="model",version="1"}} 1.0',
    ):
        assert line in text, text


def test_too_long_a_wait_is_answered_with_504(bundle: Bundle) -> None:
    import asyncio

    own = Local(bundle, request_timeout="50ms")

    async def wait(batch: Any) -> None:
        await asyncio.sleep(1)

    own.before = wait
    answer = own.ask("POST", "/predict", json={"instances": [ROW]})
    assert answer.status_code == 504 and "serve.request_timeout" in answer.json()["error"]


def test_a_full_queue_is_answered_with_429_and_when_to_ask_again(bundle: Bundle) -> None:
    import asyncio

    own = Local(bundle, max_queue=8, max_batch=4, batch_wait="1ms")

    async def wait(batch: Any) -> None:
        await asyncio.sleep(0.2)

    own.before = wait
    answers = own.together([("POST", "/predict", {"json": {"instances": [ROW]}}) for _ in range(40)])
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429} and statuses.count(200) >= 8
    refused = answers[statuses.index(429)]
    assert int(refused.headers["Retry-After"]) >= 1 and "serve.max_queue" in refused.json()["error"]
    assert 'status="429"' in own.ask("GET", "/metrics").text


def test_without_a_replica_503_says_when_to_ask_again(bundle: Bundle) -> None:
    own = Local(bundle, request_timeout="5s")

    async def die(batch: Any) -> None:
        raise ReplicaLost("killed")

    own.before = die
    answer = own.ask("POST", "/predict", json={"instances": [ROW]})
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    own.front.doors["1"].lane.replicas = 0
    assert own.ask("GET", "/readyz").status_code == 503 and own.ask("GET", "/healthz").status_code == 200


def test_errors_have_one_form_and_lead_to_the_documentation(table: Local) -> None:
    for answer in (table.ask("GET", "/nothing"), table.ask("GET", "/predict")):
        assert answer.json()["request_id"] == answer.headers["X-Request-Id"] and "/docs" in answer.json()["error"]
    page = table.ask("GET", "/docs").text
    assert "POST /predict" in page and "://" not in page.replace("http://model", "")


def test_text_is_generated_whole_and_in_pieces(texts: Local) -> None:
    order: dict[str, Any] = {"prompt": "abc", "max_tokens": 20, "seed": 1}
    whole = texts.ask("POST", "/generate", json=order)
    expected = texts.bundle.generate("abc", max_tokens=20, seed=1, device="cpu")[0]
    assert whole.status_code == 200 and whole.json()["text"] == expected
    streamed = texts.ask("POST", "/generate", json=order | {"stream": True})
    assert streamed.headers["Content-Type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    assert events[-1] == "[DONE]" and len(events) > 5
    assert "abc" + "".join(json.loads(event)["text"] for event in events[:-1]) == expected


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "a", "temperature": -1}, "temperature"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "seed": 10**30}, "seed"),
        ({"prompt": "a", "stream": 1}, "stream"),
        ({"prompt": "a", "streams": True}, "streams"),
    ],
)
def test_an_order_for_text_that_is_refused(texts: Local, order: dict[str, Any], field: str) -> None:
    answer = texts.ask("POST", "/generate", content=json.dumps(order).encode())
    assert answer.status_code == 422 and answer.json()["field"] == field, answer.text


def test_only_language_models_generate(table: Local) -> None:
    answer = table.ask("POST", "/generate", json={"prompt": "a"})
    assert answer.status_code == 404 and "only language models generate" in answer.json()["error"]


def test_a_language_model_also_predicts_the_next_token(texts: Local) -> None:
    found = texts.ask("POST", "/predict", json={"instances": ["abc", "h"]}).json()["predictions"]
    assert [row["prediction"] for row in found] == list(texts.bundle.predict(["abc", "h"])["prediction"])
    assert texts.ask("POST", "/predict", content="abc", headers={"Content-Type": "text/plain"}).status_code == 200


def test_answers_are_closed_for_good_while_it_drains(bundle: Bundle) -> None:
    own = Local(bundle)
    own.front.draining = True
    answer: httpx.Response = own.ask("POST", "/predict", json={"instances": [ROW]})
    assert answer.status_code == 200 and answer.headers["Connection"] == "close"
    assert own.ask("GET", "/readyz").status_code == 503
