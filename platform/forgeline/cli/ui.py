"""`forgeline ui`: MLflow's own page on the tracking store, for this machine only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Annotated

import typer

from forgeline.errors import ForgelineError, UsageError
from forgeline.masking import redact

HOST = "127.0.0.1"
# No telemetry, none of the server's background jobs, which a page does not need, and no warnings about its own parts.
_SERVER = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PYTHONWARNINGS": "ignore",
}
_POLL_S = 0.2
_LEAVING_S = 5.0


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = 5000,
) -> None:
    """Serve MLflow's page until Ctrl-C."""
    from forgeline.settings import settings

    environment = settings()
    if environment.tracking_uri.startswith(("http://", "https://")):
        print(f"runs are tracked by a server, which has its own page: {redact(environment.tracking_uri)}")
        return
    environment.ensure_home()
    check_port(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning", "--backend-store-uri", environment.resolved_tracking_uri]
    if environment.artifact_root is not None:
        command += ["--default-artifact-root", environment.artifact_root]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    print("starting", flush=True)
    # In a session of its own: Ctrl-C would reach every process of the server, and each would show a traceback.
    environ = {**os.environ, **_SERVER}
    server = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _serve(server, port)
    except KeyboardInterrupt:
        return
    finally:
        _end(server)


def _serve(server: subprocess.Popen[bytes], port: int) -> None:
    """Say when the page is there, and stay until the server ends.

    Raises:
        ForgelineError: it ended by itself.
    """
    ready = False
    while server.poll() is None:
        if not ready and _answers(port):
            ready = True
            print(f"ready: http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
        time.sleep(_POLL_S)
    raise ForgelineError(f"MLflow's server ended with code {server.returncode}; what it said stands above")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    """End all processes of the server."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_LEAVING_S)
            return


def check_port(port: int) -> None:
    """Raises UsageError when something listens on the port, or it may not be opened."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"--port: {port} cannot be opened ({error.strerror}); choose another with --port"
            ) from error
