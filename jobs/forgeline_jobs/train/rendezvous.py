"""How the workers of one attempt find each other.

Ray's own `TorchConfig` imports torch in the driver, in the controller and, before anything else, in each worker. Here
the workers are only told where rank 0 listens; the process group is opened by the training strategy inside the
worker, so that driver and controller never import torch and the first step comes seconds sooner.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ray.train.backend import Backend, BackendConfig

from forgeline_jobs.train import notices

LOOPBACK = "127.0.0.1"


def _free_address(host: str | None) -> tuple[str, int]:
    """An address of this node with a port that is free now."""
    import socket

    import ray.util

    address = host or ray.util.get_node_ip_address()
    with socket.socket() as probe:
        probe.bind((address, 0))
        return address, int(probe.getsockname()[1])


def _set_environment(address: str, port: int) -> None:
    """The variables that torch.distributed reads (https://pytorch.org/docs/stable/elastic/run.html)."""
    import ray.train

    context = ray.train.get_context()
    os.environ.update(
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
        RANK=str(context.get_world_rank()),
        LOCAL_RANK=str(context.get_local_rank()),
        NODE_RANK=str(context.get_node_rank()),
        WORLD_SIZE=str(context.get_world_size()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
    )
    if address == LOOPBACK:
        # They would otherwise open their pair connections on an outside interface.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")


def open_process_group(backend: str, timeout: timedelta) -> None:
    """Open the process group of a local run; elsewhere the training strategy does it.

    The store that torch would make listens on every interface, whatever the address, and takes orders from anyone.
    """
    if os.environ["MASTER_ADDR"] != LOOPBACK:
        return
    import socket

    from torch import distributed

    port, rank, world = (int(os.environ[name]) for name in ("MASTER_PORT", "RANK", "WORLD_SIZE"))
    listening = socket.create_server((LOOPBACK, port)).detach() if rank == 0 else None
    store = distributed.TCPStore(  # type: ignore[attr-defined]  # public, and not in its __all__
        LOOPBACK, port, world, is_master=rank == 0, timeout=timeout, master_listen_fd=listening
    )
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)


class _Rendezvous(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        host = backend_config.host if isinstance(backend_config, Rendezvous) else None
        worker_group.execute(notices.listen)
        address, port = worker_group.execute_single(0, _free_address, host)
        worker_group.execute(_set_environment, address=address, port=port)


@dataclass
class Rendezvous(BackendConfig):
    """Backend of a Ray Train worker group that only exchanges addresses.

    Attributes:
        host: address that rank 0 binds to; its node's own when empty.
    """

    host: str | None = None

    @property
    def backend_cls(self) -> type[Backend]:
        return _Rendezvous
