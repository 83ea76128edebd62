"""What a job would do, need and cost, asked of its kind before anything starts; what a plan looks like.

The control plane knows no kind: a kind answers in facts and tables, which the command line shows as they are. A kind
that does not plan is answered for with what all kinds have: the resources that it holds, and what its check found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from forgeline.errors import UsageError
from forgeline.kinds import get_kind
from forgeline.launching.admission import needed_cpus, needed_gpus, needed_memory

if TYPE_CHECKING:
    from forgeline.settings import Settings
    from forgeline.spec.envelope import Envelope
    from forgeline.spec.loading import LoadedSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked besides the specification.

    Attributes:
        settings: of this installation: prices, memory of GPUs, where earlier runs are written down.
        gpu: name of the GPU that the job is to run on; None where it is not told.
        throughput: samples a second of all workers together; None to go by what was measured.
    """

    settings: Settings
    gpu: str | None = None
    throughput: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of a plan for people.

    Attributes:
        title: what they are.
        columns: keys to show, in order.
        rows: the cells, as text.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a job would do.

    Attributes:
        data: everything, as JSON values, for scripts.
        facts: names and values, for people.
        tables: for people.
        notes: sentences that qualify the figures.
    """

    data: Mapping[str, Any]
    facts: Sequence[tuple[str, str]]
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default=())


def plan(loaded: LoadedSpec, question: Question) -> Plan:
    """The plan of a job; nothing is started or written.

    Unlike a check before a run, it takes what this machine does not have: it is asked before there is a machine.

    Raises:
        SpecError: the specification or the data are wrong.
        UsageError: there is no such GPU, or the kind estimates nothing.
    """
    kind = get_kind(loaded.spec.kind).kind()
    planned = getattr(kind, "plan", None)  # which not every kind has
    if planned is not None:
        return cast(Plan, loaded.located(lambda: planned(loaded.spec, question)))
    for option, given in (("--gpu", question.gpu), ("--throughput", question.throughput)):
        if given is not None:
            raise UsageError(
                f"{option} {given} is for kinds that estimate time and memory; {loaded.spec.kind} does not"
            )
    found = loaded.located(lambda: kind.check(loaded.spec)) or {}
    return _of_any_kind(loaded.spec, found)


def _of_any_kind(spec: Envelope, found: Mapping[str, Any]) -> Plan:
    resources = spec.resources
    needs = {"workers": resources.most_workers, "cpus": needed_cpus(resources), "gpus": needed_gpus(resources)}
    memory = needed_memory(resources)
    return Plan(
        data={
            "kind": spec.kind,
            "name": spec.name,
            "does": get_kind(spec.kind).help,
            "holds": needs | {"memory_bytes": int(memory)},
            "found": found,
        },
        facts=[
            ("kind", spec.kind),
            ("does", get_kind(spec.kind).help),
            *((name, f"{value:g}") for name, value in needs.items()),
            ("memory", f"{memory / 2**30:.1f} GiB reserved" if memory else "nothing reserved"),
            ("time", "not estimated for this kind"),
        ],
    )
