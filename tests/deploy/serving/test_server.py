"""The real HTTP server before an engine in this process: slow and rude clients, and an end that loses no request."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
import uvloop

from forgeline.bundle import Bundle
from forgeline_deploy.serving import gate, server
from forgeline_deploy.serving.ingress import listen
from forgeline_deploy.serving.server import LARGEST_HEAD, server_of
from tests.deploy.serving.conftest import ROW, Local

BODY = json.dumps({"instances": [ROW]}).encode()
REQUEST = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextmanager
def serving(local: Local) -> Iterator[tuple[uvicorn.Server, int]]:
    """A server in a thread, and its port."""
    own = server_of(local.app)
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(own.serve(sockets=[listening]))

    thread = threading.Thread(target=run)
    thread.start()
    while not own.started:
        time.sleep(0.01)
    try:
        yield own, port
    finally:
        own.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port(table: Local) -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "HEAD_S", 0.3)
        patch.setattr(server, "LAST_REQUEST_S", 0.1)
        with serving(table) as (_, found):
            yield found


def exchanged(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What the server sends until it closes, or is silent for a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as own:
        for part in parts:
            own.sendall(part)
            time.sleep(pause_s)
        received = b""
        try:
            while piece := own.recv(2**16):
                received += piece
        except TimeoutError:
            pass
        return received


def test_requests_behind_each_other_on_one_connection_are_all_answered(port: int) -> None:
    assert exchanged(port, REQUEST * 3).count(b"HTTP/1.1 200 OK") == 3


def test_a_head_that_does_not_come_is_not_waited_for(port: int) -> None:
    began = time.monotonic()
    answer = exchanged(port, b"POST /predict HTTP/1.1\r\nHost:")
    assert answer.startswith(b"HTTP/1.1 408") and b"connection: close" in answer
    assert time.monotonic() - began < 2
    # The second head of a connection has no more time than the first one.
    assert b"HTTP/1.1 408" in exchanged(port, REQUEST, b"GET /", pause_s=0.1)


def test_a_head_that_trickles_is_not_waited_for(port: int) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - broken pipe or connection reset, as it comes
        exchanged(port, b"GET /healthz HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 30, pause_s=0.1)


def test_a_head_without_an_end_is_refused_and_the_refusal_arrives(port: int) -> None:
    line = b"X-Long: " + b"a" * 1000 + b"\r\n"
    answer = exchanged(port, b"GET /healthz HTTP/1.1\r\n" + line * (LARGEST_HEAD // 900), line, line, pause_s=0.02)
    assert answer.startswith(b"HTTP/1.1 431")
    assert exchanged(port, REQUEST).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "rubbish",
    [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n"],
)
def test_what_is_no_http_gets_400(port: int, rubbish: bytes) -> None:
    assert exchanged(port, rubbish + b"\r\n").startswith(b"HTTP/1.1 400")


def test_a_length_beside_chunks_is_no_way_to_smuggle_a_request(port: int) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchanged(port, head + b"0\r\n\r\n" + REQUEST)
    assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1") == 1


def test_a_body_that_does_not_come_is_not_waited_for(port: int) -> None:
    assert exchanged(port, REQUEST[:-1]).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("length", [b"Content-Length: 9000000", b"Transfer-Encoding: chunked"])
def test_the_refusal_of_a_large_body_reaches_a_client_that_sends_all_first(bundle: Bundle, length: bytes) -> None:
    body = b"a" * 9_000_000
    if b"chunked" in length:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with serving(Local(bundle, max_body="1MiB")) as (_, found):
        answer = exchanged(found, b"POST /predict HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % length, body)
    assert answer.startswith(b"HTTP/1.1 413") and b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].endswith("(serve.max_body)")


def test_what_a_refused_client_sends_is_not_read_for_ever(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LINGER_S", 0.2)
    with serving(Local(bundle, max_body="1KiB")) as (_, found), socket.create_connection(("127.0.0.1", found)) as own:
        own.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011 - broken pipe or connection reset, as it comes
            while time.monotonic() - began < 10:
                own.sendall(b"a")
                time.sleep(0.01)
        assert time.monotonic() - began < 3


def test_an_end_under_load_loses_no_request(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients with a connection for each request, and such as keep theirs; many at a time, so that some always wait."""
    monkeypatch.setattr(server, "LAST_REQUEST_S", 5.0)  # on a busy machine the clients themselves are slow
    local = Local(bundle, max_queue=64, batch_wait="1ms")
    counted: Counter[str] = Counter()

    async def end(own: uvicorn.Server) -> None:
        await asyncio.sleep(0.5)
        local.front.draining = True
        await asyncio.sleep(0.1)
        own.should_exit = True

    async def scene(own: uvicorn.Server, port: int) -> None:
        clients = [client(port, keep=number % 2 == 0, counted=counted) for number in range(32)]
        await asyncio.gather(end(own), *clients)

    with serving(local) as (own, port):
        asyncio.run(scene(own, port))
    assert counted.pop("not taken") == 32
    assert set(counted) == {"200"}, counted


async def client(port: int, *, keep: bool, counted: Counter[str]) -> None:
    """Ask until nobody listens any more."""
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while True:
        try:
            reader, writer = connection or await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            counted["not taken"] += 1
            return
        try:
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            counted[head[9:12].decode()] += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            counted[f"lost, {'kept' if connection else 'fresh'}: {type(error).__name__}"] += 1
            head = b"connection: close"
        connection = (reader, writer) if keep and b"connection: close" not in head.lower() else None
        if connection is None:
            writer.close()


def one_answer(own: socket.socket) -> bytes:
    """The head of an answer, in small letters; its body is read as well."""
    with own.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n")).lower()
        stream.read(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return head


def test_a_connection_that_was_idle_may_still_ask_while_the_port_closes(bundle: Bundle) -> None:
    local = Local(bundle)
    with serving(local) as (own, port), socket.create_connection(("127.0.0.1", port), timeout=20) as kept:
        kept.sendall(REQUEST)
        assert one_answer(kept).startswith(b"http/1.1 200")
        local.front.draining = True
        own.should_exit = True
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=0.05).close()
            except ConnectionRefusedError:
                break
            except TimeoutError:
                pass
        kept.sendall(REQUEST)
        answer = one_answer(kept)
        assert answer.startswith(b"http/1.1 200") and b"connection: close" in answer
        while kept.recv(2**16):
            pass


def until(true: Callable[[], object]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("waited too long")


def test_a_text_whose_reader_leaves_is_written_no_further(texts: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LAST_REQUEST_S", 0.1)
    lane = texts.front.doors["1"].text
    assert lane is not None
    texts.pieces = 0
    with serving(texts) as (_, port):
        for stream in (True, False):
            body = json.dumps({"prompt": "abc", "max_tokens": 4096, "stream": stream}).encode()
            with socket.create_connection(("127.0.0.1", port), timeout=10) as own:
                own.sendall(b"POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                if stream:
                    assert own.recv(2**16).startswith(b"HTTP/1.1 200")
                until(lambda: lane.writing)
            until(lambda: not lane.writing)
    assert texts.pieces < 4096
    metrics = texts.front.metrics.text().decode()
    assert 'forgeline_requests_total{endpoint="/generate",status="499",version="1"} 1.0' in metrics
