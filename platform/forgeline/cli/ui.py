"""`forgeline ui`: MLflow's own page on the tracking store, for this machine only."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer

from forgeline.errors import UsageError
from forgeline.masking import redact
from forgeline.settings import settings

HOST = "127.0.0.1"
# No telemetry, and none of the server's background jobs, which a page does not need.
_SERVER = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = 5000,
) -> None:
    """Serve MLflow's page until Ctrl-C."""
    environment = settings()
    if environment.tracking_uri.startswith(("http://", "https://")):
        print(f"runs are tracked by a server, which has its own page: {redact(environment.tracking_uri)}")
        return
    environment.ensure_home()
    check_port(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", environment.resolved_tracking_uri]
    if environment.artifact_root is not None:
        command += ["--default-artifact-root", environment.artifact_root]
    print(f"http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    # In place of this process, so that every signal goes to the server itself.
    os.execve(sys.executable, command, {**os.environ, **_SERVER})


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
