"""Every error that Forgeline raises on purpose, each with the exit code of the command that meets it.

ForgelineError                  1    the platform failed
 ├─ SpecError                   2    the specification or what it names is wrong
 │   └─ DataError               2    the data are not what the specification promises
 ├─ UsageError                  2    a command or a call was used wrongly
 │   └─ AliasMoved              2    an alias does not point where it was expected to
 ├─ TrackingError               1    the tracking server did not do what was asked
 ├─ LedgerError                 1    the run ledger did not do what was asked
 │   └─ HistoryTampered         1    the history of aliases is not what was written
 ├─ BundleError                 1    a model bundle cannot be read or written
 │   └─ BundleTampered          1    a bundle's bytes differ from those it was sealed with
 ├─ GateRefused               100    a gate did not let a version pass
 ├─ RunFailed                 100    the run ended in failure
 ├─ NotFinished               101    the run is not finished yet
 │   └─ ApprovalNeeded        101    a move was proposed, and waits for another person's approval
 ├─ NotFound                  102    no such run, model, version or alias
 ├─ RunCancelled              103    the run was cancelled
 └─ RunTimedOut               104    the run met its deadline
"""

from __future__ import annotations


class ForgelineError(Exception):
    """Root of the tree; `exit_code` is what the command line returns."""

    exit_code: int = 1


class SpecError(ForgelineError):
    """A specification is wrong; the message names the place, the value, what is allowed and the key to change.

    Args:
        message: what is wrong, what was got, what is allowed.
        key: dotted path of the key to change, such as `optimizer.lr`.
        line: line in the source, counted from 1.
        source: file name (or `--set …`) that the value came from.
        others: further errors of the same document, shown below the first.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        line: int | None = None,
        source: str | None = None,
        others: tuple[SpecError, ...] = (),
    ) -> None:
        self.message = message
        self.key = key
        self.line = line
        self.source = source
        self.others = others
        super().__init__(message)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line) if part is not None)
        first = ": ".join(part for part in (place, self.key, self.message) if part)
        return "\n".join([first, *(str(other) for other in self.others)])

    def located(self, *, line: int | None = None, source: str | None = None) -> SpecError:
        """The same error with the place filled in where it was not known."""
        copy = type(self)(
            self.message,
            key=self.key,
            line=self.line if self.line is not None else line,
            source=self.source or source,
            others=self.others,
        )
        copy.__cause__ = self
        return copy


class DataError(SpecError):
    """The data are not what the specification promises."""


class UsageError(ForgelineError):
    """A command or a call was used wrongly."""

    exit_code = 2


class AliasMoved(UsageError):
    """An alias does not point where a move expected it to; nothing was moved.

    Args:
        message: what it points at now, since when and why.
        version: the same as a number; None where no version has the alias.
    """

    def __init__(self, message: str, *, version: int | None) -> None:
        self.version = version
        super().__init__(message)


class TrackingError(ForgelineError):
    """The tracking server could not be reached or refused a request."""


class LedgerError(ForgelineError):
    """The run ledger could not be reached, or refused a change of state."""


class HistoryTampered(LedgerError):
    """Rows of the history of aliases were altered, removed, inserted or reordered."""


class BundleError(ForgelineError):
    """A model bundle cannot be read or written."""


class BundleTampered(BundleError):
    """A bundle's bytes differ from the digests it was sealed with."""


class RunFailed(ForgelineError):
    """A run ended in failure.

    Args:
        message: what happened, for a person.
        reason: the machine-readable reason, one of `forgeline.ledger.states.Reason`.
    """

    exit_code = 100

    def __init__(self, message: str, *, reason: str = "platform_error") -> None:
        self.reason = reason
        super().__init__(message)


class NotFinished(ForgelineError):
    """The run is not finished yet."""

    exit_code = 101


class ApprovalNeeded(NotFinished):
    """A move was proposed, and is made when another person approves it."""


class GateRefused(ForgelineError):
    """A gate did not let a version pass; nothing was moved."""

    exit_code = 100


class NotFound(ForgelineError):
    """No such run, model, version or alias."""

    exit_code = 102


class RunCancelled(ForgelineError):
    """The run was cancelled."""

    exit_code = 103


class RunTimedOut(ForgelineError):
    """The run met its deadline."""

    exit_code = 104
