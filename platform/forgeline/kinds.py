"""What a kind of job is: it owns its spec model, checks it, and runs it in the driver.

The control plane knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from forgeline import plugins

if TYPE_CHECKING:
    from forgeline.launching.context import RunContext
    from forgeline.spec.envelope import Envelope


class Kind(Protocol):
    """A kind of job.

    A kind may also have

    - `check_resumed(spec)`, where a run that goes on needs less than one that begins;
    - `plan(spec, question)`, which returns what a run would need and cost as a `forgeline.planning.Plan`;
    - `fixed`, the dotted keys of its spec that a run keeps for life, in place of those of a training;
    - `check_continued(run, spec, ledger)`, where a run that succeeded may be given more to do: it raises UsageError
      where there is nothing left;
    - `table(ledger, record)`, which returns what a run has come to so far as rows, one mapping each.
    """

    def check(self, spec: Any) -> Mapping[str, Any] | None:
        """Look at everything that can be wrong before Ray is started; writes nothing.

        Returns:
            What was found, such as the size of the data, for `forgeline validate` to show; JSON values.

        Raises:
            SpecError: what is wrong and which key to change.
        """

    def execute(self, context: RunContext) -> dict[str, Any]:
        """Run the job in the driver, Ray being up; the result is shown to the user and kept on the run.

        Raises:
            RunFailed: with the machine-readable reason.
            RunCancelled: the run was asked to stop, and did.
        """


@dataclass(frozen=True, kw_only=True)
class KindDescriptor:
    """The light face of a kind, for the entry point group `forgeline.kinds`.

    Attributes:
        name: the value of `kind:` in the YAML.
        help: one line for listings.
        spec: `package.module:Class` of the pydantic spec model, a subclass of `Envelope`.
        implementation: `package.module:Class` of the `Kind`.
    """

    name: str
    help: str
    spec: str
    implementation: str

    def spec_model(self) -> type[Envelope]:
        """The spec model, imported now."""
        return cast("type[Envelope]", plugins.load_object(self.spec))

    def kind(self) -> Kind:
        """The kind itself, imported now."""
        return cast(Kind, plugins.load_object(self.implementation)())


def get_kind(name: str) -> KindDescriptor:
    """The kind that a spec names.

    Raises:
        SpecError: no such kind; the message has the nearest one.
    """
    return cast(KindDescriptor, plugins.find(plugins.KINDS, name, key="kind"))
