"""A served ResNet-18 against a bare Ray Serve with the same batches, and against FastAPI and uvicorn.

    python -m benchmarks.serving                         # writes benchmarks/results/serving.json
    python -m benchmarks.serving --monitor '{"window": "1m"}'

All serve one bundle of the module and the data of jobs/specs/digits.yaml, on one core; its weights are fresh, since no
figure depends on them. Clients ask one after the other over connections that they keep, with a digit as JSON, from a
process of their own. Between rounds the order changes; ratios are of all rounds together. What else the machine did is
told by its load and by the spread of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_file

SPEC = Path(__file__).parents[1] / "jobs" / "specs" / "digits.yaml"
OURS, BARE, PLAIN = "forgeline", "bare Ray Serve", "FastAPI and uvicorn"
GOALS = {"throughput": 0.9, "p99": 1.1}
CLIENTS = (1, 8, 32)
MAX_BATCH, WAIT_S = 32, 0.005
WARM_UP_S = 2.0
_UP_WITHIN_S = 180.0


def make_bundle(folder: Path) -> Path:
    """A bundle of the module, with reference statistics, and digits of the test split beside it."""
    import torch

    from forgeline import plugins
    from forgeline.bundle import Bundle, Reference
    from forgeline.spec.loading import load
    from forgeline_jobs.train.preparation import prepare

    spec: Any = load(SPEC).spec
    data = prepare(spec.data)
    signature = data.signature.model_dump(mode="json")
    config = spec.architecture.model_dump(mode="json")
    family: Any = plugins.find(plugins.ARCHITECTURES, spec.architecture.name, key="architecture.name")
    torch.manual_seed(0)
    preprocessing: Any = data.preprocessing
    saved: dict[str, Any] = {"architecture": config, "signature": signature, "preprocessing": preprocessing}
    state = family.build_model(config, signature).state_dict()
    bare = Bundle.save(folder / "bare", model_state=state, **saved)
    split = data.splits["val"]
    val = {name: array for name, array in split.batch(np.arange(len(split))).items() if name != "target"}
    reference = Reference.of(preprocessing, [val], bare.outputs(val))
    bundle = Bundle.save(folder / "bundle", model_state=state, reference=reference, **saved)
    rng = np.random.default_rng(0)
    height, width = preprocessing.height, preprocessing.width
    digits = rng.integers(0, int(preprocessing.pixel_max) + 1, (64, height, width))
    (folder / "digits.json").write_text(json.dumps(digits.tolist()))
    return bundle.folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served(name: str, bundle: Path, monitor: Mapping[str, Any] | None) -> Iterator[int]:
    """A contender that answers, and its port."""
    port = free_port()
    if name == OURS:
        serve = {"port": port, "max_batch": MAX_BATCH, "batch_wait": f"{round(WAIT_S * 1000)}ms"}
        spec: dict[str, Any] = {"kind": "deployment", "name": "digits", "model": str(bundle), "serve": serve}
        spec |= {"resources": {"cpus_per_worker": 1}} | ({"monitor": dict(monitor)} if monitor is not None else {})
        file = bundle.with_name("deployment.yaml")
        file.write_text(json.dumps(spec))
        words = ["forgeline.cli.app", "run", str(file)]
    elif name == BARE:
        words = ["benchmarks.peers.bare_serve", str(bundle), str(port), str(MAX_BATCH), str(WAIT_S)]
    else:
        words = ["benchmarks.peers.plain_fastapi", str(bundle), str(port)]
    home = bundle.with_name("home")
    log = bundle.with_name(f"{name}.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            env={**os.environ, "FORGELINE_HOME": str(home)}, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait_until_it_answers(name, port, process, log)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_it_answers(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    body = json.dumps({"instances": json.loads(log.with_name("digits.json").read_text())[:1]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
    until = time.monotonic() + _UP_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                [row] = json.load(answer)["predictions"]
                assert "probability" in row
                return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"{name} does not come up; {log.read_text()[-2000:]}")


async def load(port: int, clients: int, seconds: float, bodies: Sequence[bytes]) -> list[float]:
    """Seconds of each request; clients ask one after the other, each over one connection."""
    requests = [
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
        for body in bodies
    ]
    found: list[float] = []
    begin = time.perf_counter() + WARM_UP_S
    end = begin + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.perf_counter()) < end:
            writer.write(requests[number % len(requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            # Serve's proxy answers in chunks.
            await (reader.readexactly(int(length)) if length else reader.readuntil(b"\r\n0\r\n\r\n"))
            done = time.perf_counter()
            # Requests that began before the time or ended behind it are not counted, of any contender.
            if started >= begin and done <= end:
                found.append(done - started)
            number += clients
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return found


def asked(port: int, clients: int, seconds: float, digits: Path) -> list[float]:
    """`load` in a process of its own."""
    words = ["--load", str(port), "--clients", str(clients), "--seconds", str(seconds), "--digits", str(digits)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    latencies: list[float] = json.loads(done.stdout)
    return latencies


def summary(
    rounds: Mapping[str, Sequence[list[float]]], clients: int, seconds: float, monitor: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One row: requests per second and latencies of each contender, and the ratios to the bare Ray Serve."""
    shown: dict[str, Any] = {}
    for name, parts in rounds.items():
        latencies = sorted(1000 * value for part in parts for value in part)
        shown[name] = {
            "requests_per_s": round(len(latencies) / seconds / len(parts), 2),
            "p50_ms": round(statistics.median(latencies), 2),
            "p99_ms": round(latencies[min(len(latencies) - 1, round(0.99 * len(latencies)))], 2),
            "requests": len(latencies),
            "requests_per_s_of_rounds": [round(len(part) / seconds, 1) for part in parts],
        }
    ours, bare = shown[OURS], shown[BARE]
    ratios = {
        "throughput": round(ours["requests_per_s"] / bare["requests_per_s"], 3),
        "p50": round(ours["p50_ms"] / bare["p50_ms"], 3),
        "p99": round(ours["p99_ms"] / bare["p99_ms"], 3),
        f"throughput, to {PLAIN}": round(ours["requests_per_s"] / shown[PLAIN]["requests_per_s"], 3),
    }
    return {
        "clients": clients,
        "monitor": monitor,
        "batches": {"max_batch": MAX_BATCH, "wait_ms": 1000 * WAIT_S},
        "contenders": shown,
        "ratios": ratios,
        "goals": GOALS,
        "reached": {
            "throughput": ratios["throughput"] >= GOALS["throughput"],
            "p99": ratios["p99"] <= GOALS["p99"],
        },
        "load_average": [round(value, 1) for value in os.getloadavg()],
    }


def main() -> int:
    """Measure, print the ratios, write the JSON; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--monitor", help="the part `monitor` of the deployment, as JSON; none without it")
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--digits", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        bodies = [json.dumps({"instances": [digit]}).encode() for digit in json.loads(arguments.digits.read_text())]
        print(json.dumps(asyncio.run(load(arguments.load, arguments.clients, arguments.seconds, bodies))))
        return 0
    monitor = None if arguments.monitor is None else json.loads(arguments.monitor)
    found: dict[int, dict[str, list[list[float]]]] = {
        clients: {name: [] for name in (OURS, BARE, PLAIN)} for clients in CLIENTS
    }
    with tempfile.TemporaryDirectory(prefix="fl") as folder, ExitStack() as stack:
        bundle = make_bundle(Path(folder))
        ports = {name: stack.enter_context(served(name, bundle, monitor)) for name in (OURS, BARE, PLAIN)}
        for number in range(arguments.rounds):
            for clients in CLIENTS:
                for name in list(ports) if number % 2 == 0 else list(ports)[::-1]:
                    latencies = asked(ports[name], clients, arguments.seconds, bundle.with_name("digits.json"))
                    found[clients][name].append(latencies)
                    rate, middle = len(latencies) / arguments.seconds, 1000 * statistics.median(latencies)
                    print(f"round {number + 1}, {clients} clients: {name}: {rate:.1f}/s, {middle:.1f} ms", flush=True)
    rows = {
        f"{clients} client{'s' * (clients > 1)}{', monitored' * (monitor is not None)}": summary(
            parts, clients, arguments.seconds, monitor
        )
        for clients, parts in found.items()
    }
    print(json.dumps(rows, indent=1))
    kept = dict(results_file.read("serving").get("rows", {})) | rows
    print(f"wrote {results_file.write('serving', kept)}")
    return 0 if all(all(row["reached"].values()) for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
