"""Bodies from anybody: each is answered or refused in good order, in bounded memory, and never makes the model fail."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
import tracemalloc
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgeline_deploy.serving.refusal import Refused
from forgeline_deploy.serving.samples import Batch, Ticket
from forgeline_deploy.serving.tensors import HEADER_LENGTH, TYPES, read_request
from tests.deploy.serving.conftest import ROW, Local
from tests.deploy.serving.test_application import npy, npz, png

FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
KINDS = ("table", "images", "texts", "series", "captions", "pairs")
MIB = 2**20

numbers = st.one_of(
    st.integers(-20, 300), st.integers(), st.floats(), st.sampled_from([10**30, -(10**400), 1e308, 5e-324, -0.0])
)
leaves = st.one_of(
    st.none(), st.booleans(), numbers, st.text(max_size=8), st.sampled_from(["\ud800", "\x00", "a" * 300])
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.sampled_from([*ROW, "b64", "instances", "\ud800"]), inner, max_size=4),
    ),
    max_leaves=12,
)
grids = st.tuples(st.integers(0, 9), st.integers(7, 9), st.sampled_from([8, 8, 9])).flatmap(
    lambda shape: st.builds(
        lambda one, at, fill: put(np.full(shape, fill).tolist(), at, one),
        leaves, st.integers(0, 500), st.sampled_from([0, 7, 0.5]),
    )
)  # fmt: skip
rows = st.builds(lambda name, value: {**ROW, name: value}, st.sampled_from([*ROW, "other"]), values)
bodies = st.one_of(
    st.builds(lambda one: {"instances": one}, st.one_of(values, grids, st.lists(rows, max_size=3))), values
)


def put(nested: Any, at: int, value: Any) -> Any:
    """Nested lists with one leaf exchanged."""
    level = nested
    while isinstance(level, list) and level and isinstance(level[0], list):
        level = level[at % len(level)]
    if isinstance(level, list) and level:
        level[at % len(level)] = value
    return nested


def held(local: Local, kind: str, body: bytes) -> int:
    """The status that a body gets; the model must not fail on what the intake lets through."""
    intake = local.front.doors["1"].intake
    try:
        samples = intake.read(kind, body)
    except Refused as error:
        assert 400 <= error.status < 500, error
        json.dumps(error.content("a")).encode()
        return error.status
    answers, _ = local.engine.answer(Batch([samples], [Ticket(request_id="a", arrival=0.0)]))
    assert not answers.failed
    json.dumps(answers.columns, allow_nan=False)
    return 422 if answers.refused else 200


@pytest.mark.parametrize("kind", KINDS)
def test_any_json_is_answered_or_refused(kind: str, request: pytest.FixtureRequest) -> None:
    local: Local = request.getfixturevalue(kind)

    @FUZZ
    @given(body=bodies)
    def asked(body: Any) -> None:
        held(local, "application/json", json.dumps(body).encode())

    asked()


@pytest.mark.parametrize("kind", ["images", "series"])
def test_any_array_is_answered_or_refused(kind: str, request: pytest.FixtureRequest) -> None:
    local: Local = request.getfixturevalue(kind)
    sizes = st.lists(st.sampled_from([0, 1, 3, 8, -1, 2**31, 2**62, 10**30]), max_size=4).map(tuple)
    types = st.sampled_from(["<f4", "<f2", ">i8", "|u1", "|b1", "<U9", "|O", "<c8", "|V8", "<M8[s]", "<f16", "(2,)<f4"])
    odd = st.sampled_from(["()", "(1,)*9**9", "[8]", "(True,)", "(" * 90, "(8,8", "('8',)", "(1," * 40 + ")" * 40])

    @FUZZ
    @given(shape=st.one_of(sizes.map(repr), odd), dtype=types, fortran=st.booleans(), data=st.binary(max_size=64))
    def asked(shape: str, dtype: str, fortran: bool, data: bytes) -> None:
        head = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode("latin-1")
        file = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data
        held(local, "application/x-npy", file)
        with zipfile.ZipFile(archive := io.BytesIO(), "w") as opened:
            opened.writestr("images.npy" if kind == "images" else "series.npy", file)
        held(local, "application/x-npz", archive.getvalue())

    asked()


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "application/x-npz", "application/x-npy"])
def test_a_file_with_bytes_exchanged_or_cut_off_is_answered_or_refused(images: Local, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 16, (8, 8))
    whole = {
        "image/png": png(pixels), "image/jpeg": png(pixels, "JPEG"), "application/x-npz": npz(images=pixels[None]),
        "application/x-npy": npy(pixels),
    }[kind]  # fmt: skip

    @FUZZ
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 2000))
    def asked(exchanged: list[tuple[int, int]], length: int) -> None:
        broken = bytearray(whole)
        for at, value in exchanged:
            broken[at] = value
        held(images, kind, bytes(broken[: length or None]))

    assert held(images, kind, whole) == 200
    asked()


@pytest.mark.parametrize("kind", KINDS)
def test_any_tensors_are_answered_or_refused(kind: str, request: pytest.FixtureRequest) -> None:
    local: Local = request.getfixturevalue(kind)
    intake = local.front.doors["1"].intake
    tensors = intake.tensors()
    shapes = st.lists(st.sampled_from([0, 1, 2, 4, 8, -1, 2**31, 1.5, None]), max_size=5)

    @FUZZ
    @given(data=st.data())
    def asked(data: st.DataObject) -> None:
        given_: list[Any] = []
        for tensor in tensors:
            one: dict[str, Any] = {"name": tensor.name, "datatype": data.draw(st.sampled_from([*TYPES, "BYTES", 5]))}
            one["shape"] = data.draw(st.one_of(shapes, st.sampled_from([[1], [2], [1, 8, 8, 1], [1, 6, 2], "8"])))
            one |= data.draw(
                st.one_of(
                    st.builds(lambda value: {"data": value}, values),
                    st.sampled_from([0, 8, 9, -1, "8"]).map(lambda size: {"parameters": {"binary_data_size": size}}),
                    st.just({}),
                )
            )  # fmt: skip
            given_.append(one)
        text = json.dumps({"inputs": given_}).encode()
        length = data.draw(st.sampled_from([str(len(text)), None, "-1", "9" * 30, "x"]))
        try:
            samples = intake.of_tensors(read_request(text + data.draw(st.binary(max_size=40)), length, tensors).inputs)
        except Refused as error:
            assert 400 <= error.status < 500
            assert error.field or error.status == 400
            return
        if len(samples):
            assert not local.engine.answer(Batch([samples], [Ticket(request_id="a", arrival=0.0)]))[0].failed

    asked()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bombs() -> dict[str, tuple[str, bytes]]:
    """Content type and body of what would grow."""
    size = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    small = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    start, zeros = b"\x89PNG\r\n\x1a\n", zlib.compress(bytes(30 * MIB), 9)
    text = chunk(b"zTXt", b"a\0\0" + zeros)
    profile = chunk(b"iCCP", b"a\0\0" + zeros)
    end = chunk(b"IDAT", zlib.compress(bytes(72))) + chunk(b"IEND", b"")
    lying = bytearray(npz(images=np.zeros((100_000, 8, 8))))
    at = bytes(lying).index(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 1000)
    wide = {"instances": [[["a" * 2**20, *["a"] * 50_000]]]}
    return {
        "a small file of 2.5 billion pixels": ("image/png", start + chunk(b"IHDR", size) + end),
        "a text that unpacks to 30 MiB": ("image/png", start + chunk(b"IHDR", small) + text + end),
        "the same behind the pixels": ("image/png", start + chunk(b"IHDR", small) + end[:-12] + text + end[-12:]),
        "a profile that unpacks to 30 MiB": ("image/png", start + chunk(b"IHDR", small) + profile + end),
        "pixels that go on": ("image/png", start + chunk(b"IHDR", small) + chunk(b"IDAT", zeros)),
        "an archive of 128 MiB": ("application/x-npz", npz(images=np.zeros((2**17, 8, 8)))),
        "an archive that lies": ("application/x-npz", bytes(lying)),
        "a wide array of texts": ("application/json", json.dumps(wide).encode()),
        "lists in each other": ("application/json", b'{"instances": [' + b"[" * 900 + b"]" * 900 + b"]}"),
        "lists beside each other": ("application/json", b'{"instances": [' + b"[]," * 200_000 + b"[]]}"),
        "a file in base64": (
            "application/json",
            json.dumps({"instances": [{"b64": base64.b64encode(zeros).decode()}]}).encode(),
        ),
    }


def test_what_would_grow_is_refused_in_bounded_memory_and_time(images: Local) -> None:
    found = bombs()
    for name, (kind, body) in found.items():
        tracemalloc.start()
        began = time.process_time()
        status = held(images, kind, body)
        took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert status in (400, 422) or name.startswith(("pixels", "the same", "a text", "a profile")), (name, status)
        assert took < 3 and peak < 80 * MIB, (name, took, peak)


def test_headers_that_are_no_text_or_very_long(table: Local) -> None:
    for headers in (
        {HEADER_LENGTH: "²"},
        {HEADER_LENGTH: "1" * 5000},
        {"Content-Type": "a" * 5000},
        {"Content-Type": ";;;"},
        {"Authorization": "Bearer " + "a" * 9000},
        {"X-Request-Id": "a" * 5000, "X-Sticky-Key": "a" * 5000},
    ):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        for path in ("/predict", "/v2/models/model/infer"):
            answer = table.ask("POST", path, content=b"{}", headers=raw)
            assert 400 <= answer.status_code < 500 and len(answer.content) < 2000
