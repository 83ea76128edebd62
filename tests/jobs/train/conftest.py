"""A model for tests that misbehaves on demand, in real worker processes: the architecture `faulty`, a plug-in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from forgeline import plugins

FAULTY = '''
"""A perceptron whose rank 1 misbehaves at step 12."""

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Literal

import torch
import torch.distributed
from forgeline_architectures.descriptor import Architecture
from forgeline_architectures.mlp.config import MLPConfig
from forgeline_architectures.mlp.module import build_module as build_mlp
from pydantic import Field

RANK, STEP = 1, 12


class FaultyConfig(MLPConfig):
    name: Literal["faulty"] = Field(default="faulty", description="The model's name.")
    fault: str = Field(default="none", description="What rank 1 does at step 12.")
    sample_mib: int = Field(default=0, description="MiB of each sample at once, of 1024.")
    step_s: float = Field(default=0.0, description="Seconds that each step from then on waits.")


def raise_(): raise ValueError("bad labels")
def exit_(): sys.exit(3)
def abort(): os.abort()
def kill(): os.kill(os.getpid(), signal.SIGKILL)
def stop():
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(3600)  # another thread may take the signal, and this one go on for a moment


def terminate(): os.kill(os.getpid(), signal.SIGTERM)
def sleep(): time.sleep(3600)
def desert(): torch.distributed.recv(torch.ones(7), src=0)


def own_memory():
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return mapped


def allocate():
    resource.setrlimit(resource.RLIMIT_AS, (own_memory() + 2**28, resource.RLIM_INFINITY))
    kept = [bytearray(2**26) for _ in range(64)]


def allocate_tensor():
    resource.setrlimit(resource.RLIMIT_AS, (own_memory() + 2**28, resource.RLIM_INFINITY))
    kept = [torch.ones(2**24) for _ in range(64)]


def limit_once(limits=[]):
    limits or limits.append(resource.setrlimit(resource.RLIMIT_AS, (own_memory() + 2**30, resource.RLIM_INFINITY)))


def overfill_group():
    group = Path(os.environ["FAULTY_GROUP"])
    limit = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
    (group / limit).write_text(str(2**26))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    kept = [bytearray(b"x") * 2**24 for _ in range(64)]


FAULTS = {
    "raise": raise_, "exit": exit_, "abort": abort, "kill": kill, "stop": stop, "terminate": terminate,
    "sleep": sleep, "desert": desert, "allocate": allocate, "allocate_tensor": allocate_tensor,
    "overfill_group": overfill_group, "none": lambda: None,
}


def build_module(config, signature, options):
    module = build_mlp(config, signature, options)

    class Faulty(type(module)):
        def training_step(self, batch, batch_idx):
            if self.global_step == STEP and torch.distributed.get_rank() == RANK:
                FAULTS[config.fault]()
            if config.sample_mib:
                limit_once()
                kept = torch.ones(len(batch["target"]) * config.sample_mib * 2**18)
            time.sleep(config.step_s if self.global_step >= STEP else 0)
            return super().training_step(batch, batch_idx)

    module.__class__ = Faulty
    return module


ARCHITECTURE = Architecture(
    name="faulty", family="Faulty", help="Misbehaves.", tasks=("classification",), inputs=("numeric",), paper="none",
    when="In tests.", cost="None.", config="faulty:FaultyConfig", model="forgeline_architectures.mlp.model:build_model",
    module="faulty:build_module",
)
'''


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Installs `faulty` for this process and for those that it starts."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    information = folder / "faulty-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n", encoding="utf-8")
    entry = "[forgeline.architectures]\nfaulty = faulty:ARCHITECTURE\n"
    (information / "entry_points.txt").write_text(entry, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        plugins._entries.cache_clear()
        yield
    plugins._entries.cache_clear()
    sys.modules.pop("faulty", None)
