"""Settings of this installation: from the environment with the prefix FORGELINE_, never from a job's YAML."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pydantic import AliasChoices, Field, NonNegativeFloat
from pydantic_settings import BaseSettings, SettingsConfigDict

from forgeline.errors import UsageError
from forgeline.spec.units import Size

_MAPPINGS = {"gpu_prices": '{"H100": 2.5}', "gpu_memory": '{"RTX 4090": "24GiB"}'}


class Settings(BaseSettings):
    """What differs between a laptop and a cluster while the job's YAML stays the same.

    Attributes:
        home: folder of everything local: ledger, tracking store, runs. `FORGELINE_HOME`.
        ledger_url: SQLAlchemy URL of the run ledger; empty for SQLite under `home`. `FORGELINE_LEDGER_URL`.
        tracking_uri: MLflow tracking URI; empty for SQLite under `home`. `FORGELINE_TRACKING_URI` or
            `MLFLOW_TRACKING_URI`.
        experiment: MLflow experiment that runs go to. `FORGELINE_EXPERIMENT`.
        local_cpus: logical CPUs that local Ray offers; empty for the machine's own number.
            `FORGELINE_LOCAL_CPUS`.
        user: who moves aliases, for their history and for approvals; empty for the name that the system has.
            `FORGELINE_USER`.
        cancel_grace_s: seconds a cancelled run has to save a checkpoint before it is killed.
            `FORGELINE_CANCEL_GRACE_S`.
        gpu_prices: price of an hour of each GPU, for plans, such as `{"H100": 2.5}`; in any one currency.
            `FORGELINE_GPU_PRICES`.
        gpu_memory: memory of GPUs that plans do not know, such as `{"RTX 4090": "24GiB"}`. `FORGELINE_GPU_MEMORY`.
    """

    # FORGELINE_HOME="" is not the working directory: an empty variable is one that is not set.
    model_config = SettingsConfigDict(env_prefix="FORGELINE_", env_ignore_empty=True, extra="ignore", frozen=True)

    home: Path = Path("~/.forgeline")
    ledger_url: str = ""
    tracking_uri: str = Field(
        default="", validation_alias=AliasChoices("FORGELINE_TRACKING_URI", "MLFLOW_TRACKING_URI")
    )
    experiment: str = "forgeline"
    local_cpus: float | None = Field(default=None, gt=0)
    user: str = Field(default="", max_length=128, pattern=r"^[^\s\x00-\x1f]*$")
    cancel_grace_s: float = Field(default=30.0, gt=0)
    gpu_prices: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    gpu_memory: dict[str, Size] = Field(default_factory=dict)

    @cached_property
    def home_folder(self) -> Path:
        """`home` as an absolute path."""
        return Path(os.path.expanduser(self.home)).resolve()

    @property
    def resolved_ledger_url(self) -> str:
        """`ledger_url`, or SQLite under `home`."""
        return self.ledger_url or f"sqlite:///{self.home_folder / 'ledger.db'}"

    @property
    def resolved_tracking_uri(self) -> str:
        """`tracking_uri`, or SQLite under `home`."""
        return self.tracking_uri or f"sqlite:///{self.home_folder / 'mlflow.db'}"

    @property
    def artifact_root(self) -> str | None:
        """Where the default tracking store keeps files; None where a tracking server decides."""
        return None if self.tracking_uri else (self.home_folder / "artifacts").as_uri()

    @property
    def available_cpus(self) -> float:
        """Logical CPUs that local Ray offers."""
        return self.local_cpus or float(len(os.sched_getaffinity(0)))

    def ensure_home(self) -> Path:
        """Create `home`, readable by its owner alone.

        Raises:
            UsageError: `home` cannot be created or written.
        """
        folder = self.home_folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = folder / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"FORGELINE_HOME: cannot write to {folder} ({error.strerror}); "
                "set FORGELINE_HOME to a folder that you can write to"
            ) from error
        return folder


def settings() -> Settings:
    """The settings as the environment has them now.

    Raises:
        UsageError: a variable holds a value of the wrong kind.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        return Settings()
    except SettingsError as error:  # what is no JSON where a mapping is wanted
        name = next(name for name in _MAPPINGS if f'"{name}"' in str(error))
        variable = f"FORGELINE_{name.upper()}"
        raise UsageError(
            f"{variable}: got {os.environ.get(variable)!r}; expected a JSON object such as {_MAPPINGS[name]}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        setting, *within = (str(part) for part in first["loc"])
        name = ": ".join(["FORGELINE_" + setting.upper().removeprefix("FORGELINE_"), *within])
        raise UsageError(f"{name}: {first['msg']}, got {first['input']!r}") from error
