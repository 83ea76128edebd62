"""A trained model in a folder: loaded, verified, and asked for predictions.

`Bundle.predict` is the only prediction code: the command line, the kind `predict` and MLflow's pyfunc call it. Loading
verifies every file's sha256 and imports no torch; the network is built when it is first needed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from forgeline import __version__, plugins
from forgeline.bundle.location import find_folder, put
from forgeline.bundle.manifest import (
    MANIFEST,
    REFERENCE,
    WEIGHTS,
    DataRecord,
    Manifest,
    read_manifest,
    sha256_of,
    verify,
)
from forgeline.bundle.reference import Reference
from forgeline.errors import BundleError, ForgelineError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from forgeline.plugins import ArchitectureDescriptor
    from forgeline.preprocessing import Preprocessing, TextPreprocessing

BATCH_SIZE = 256


class Bundle:
    """A trained model with all that is needed to use it.

    >>> bundle = Bundle.load("models:/digits@champion")  # doctest: +SKIP
    >>> bundle.predict("scans/")                         # doctest: +SKIP
            path  prediction  probability  probability[0] …
    0  scans/1.png         7        0.998           0.000 …

    Attributes:
        folder: where it lies.
        manifest: the content of `bundle.json`.
        digest: sha256 of `bundle.json`, and through the digests in it of the whole bundle.
    """

    def __init__(self, folder: Path, manifest: Manifest, digest: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = digest

    @classmethod
    def save(
        cls,
        folder: str | Path,
        *,
        model_state: Mapping[str, Tensor],
        architecture: Mapping[str, Any],
        signature: Mapping[str, Any],
        preprocessing: Preprocessing,
        metrics: Mapping[str, float] | None = None,
        data: DataRecord | Mapping[str, Any] | None = None,
        run_id: str | None = None,
        reference: Reference | None = None,
    ) -> Bundle:
        """Write a bundle; a reader never sees half of one, and what is replaced is deleted last.

        Args:
            folder: made anew; a bundle that is there is replaced.
            model_state: the network's state dict, tied parameters under all their names.
            architecture: `name` and the settings that it was built with.
            signature: what the data promised the network.
            preprocessing: fitted on the train split.
            metrics: by name.
            data: name, config, fingerprint and summary of the training data.
            run_id: the run that it came from.
            reference: statistics for monitoring.
        """
        from forgeline.bundle.weights import write_weights

        target = Path(folder)
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(parents=True)
            write_weights(fresh / WEIGHTS, model_state)
            if reference is not None:
                (fresh / REFERENCE).write_text(reference.model_dump_json(indent=1) + "\n", encoding="utf-8")
            manifest = Manifest(
                forgeline=__version__,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                run_id=run_id,
                task=signature["task"],
                architecture=dict(architecture),
                signature=dict(signature),
                preprocessing=preprocessing.model_dump(mode="json"),
                schema=preprocessing.schema(),
                metrics=dict(metrics or {}),
                data=DataRecord.model_validate(data) if data is not None else None,
                digests={path.name: sha256_of(path) for path in sorted(fresh.iterdir())},
            )
            (fresh / MANIFEST).write_text(manifest.text(), encoding="utf-8")
            put(fresh, target)
        except OSError as error:
            raise BundleError(f"cannot write a bundle to {target}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return cls(target, *read_manifest(target))

    @classmethod
    def load(cls, reference: str | Path) -> Bundle:
        """A bundle by `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/RUN`, or its folder.

        Raises:
            NotFound: there is no such model or folder.
            BundleError: it is not a bundle, or of a newer format.
            BundleTampered: a file is not the one that was sealed.
            SpecError: its manifest names a file outside the folder.
        """
        folder = find_folder(reference)
        manifest, digest = read_manifest(folder)
        verify(folder, manifest.digests)
        return cls(folder, manifest, digest)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self._headline().items())
        return f"<Bundle {self.name}: {self.task}{f', {shown}' if shown else ''}, from {self.folder}>"

    def _headline(self) -> dict[str, float]:
        """The metrics that tell most, few enough for one line."""
        order = (
            "accuracy",
            "roc_auc",
            "r2",
            "rmse",
            "mase",
            "exact_match",
            "recall_at_1",
            "psnr",
            "bits_per_character",
            "loss",
        )
        found = {name: value for name, value in self.metrics.items() if name.rpartition("/")[2] in order}
        return dict(sorted(found.items(), key=lambda item: order.index(item[0].rpartition("/")[2]))[:2])

    @property
    def name(self) -> str:
        """Name of the architecture."""
        return str(self.manifest.architecture.get("name", "?"))

    @property
    def task(self) -> str:
        """What it was trained for, such as `classification`."""
        return self.manifest.task

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured when the bundle was made."""
        return self.manifest.metrics

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, in the order of the network's outputs."""
        return self.preprocessing.classes

    @property
    def schema(self) -> Mapping[str, Any]:
        """What it takes and gives, as JSON."""
        return self.manifest.schema_

    @property
    def data(self) -> DataRecord | None:
        """What it was trained on."""
        return self.manifest.data

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """From raw rows, images, texts or series to the network's inputs, and back from its outputs."""
        from pydantic import ValidationError

        from forgeline.preprocessing import load_preprocessing

        try:
            return load_preprocessing(self.manifest.preprocessing)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BundleError(f"{self.folder / MANIFEST}: preprocessing.{where}: {first['msg']}") from error

    @cached_property
    def reference(self) -> Reference | None:
        """Statistics of the training data and the outputs, where they were kept."""
        if REFERENCE not in self.manifest.digests:
            return None
        # The file may have been exchanged since the bundle was loaded.
        verify(self.folder, {REFERENCE: self.manifest.digests[REFERENCE]})
        return Reference.read(self.folder / REFERENCE)

    @cached_property
    def model(self) -> nn.Module:
        """The network with its weights, in evaluation mode."""
        import torch

        from forgeline.bundle.weights import read_weights

        name = self.name
        architecture = cast(
            "ArchitectureDescriptor", plugins.find(plugins.ARCHITECTURES, name, key="architecture.name")
        )
        # The file may have been exchanged since the bundle was loaded; a second look costs less than the reading.
        verify(self.folder, {WEIGHTS: self.manifest.digests[WEIGHTS]})
        state = read_weights(self.folder / WEIGHTS)
        try:
            # The fresh weights are thrown away: drawing them must not move the caller's random numbers.
            with torch.random.fork_rng(devices=[]):
                network = architecture.build_model(self.manifest.architecture, self.manifest.signature)
            network.load_state_dict(state)
        except ForgelineError:
            raise
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise BundleError(f"the weights of {self.folder} do not fit architecture {name!r}: {error}") from error
        return network.eval()

    def predict(self, raw: Any, *, batch_size: int = BATCH_SIZE, device: str = "auto") -> pd.DataFrame:
        """Predictions, one row per sample, in the order of the samples.

        Args:
            raw: a file or folder (a `Path`; for anything but text also a `str`), or data as the preprocessing takes
                them: a DataFrame, images or paths of images, texts, series, the arrays of a graph by name.
            batch_size: samples that go through the network together; a graph does so whole.
            device: auto, cpu, cuda or cuda:N.

        Returns:
            `prediction` and what belongs to it (`probability`, `probability[class]`, …), after the columns that tell
            samples of a file apart (the path of an image, the time of a forecast). The index of a DataFrame is kept.

        Raises:
            DataError: the data are not what the model takes.
        """
        import pandas as pd

        from forgeline.bundle.prediction import pieces_of

        pieces = [self.predict_piece(piece, batch_size=batch_size, device=device) for piece in pieces_of(self, raw)]
        if len(pieces) == 1:
            return pieces[0]
        return pd.concat(pieces, ignore_index=not hasattr(raw, "index") or not hasattr(raw, "columns"))

    def predict_piece(self, raw: Any, *, batch_size: int = BATCH_SIZE, device: str = "auto") -> pd.DataFrame:
        """Predictions of data that fit into memory at once, encoded in one go."""
        import pandas as pd

        preprocessing = self.preprocessing
        outputs = self.outputs(preprocessing.encode(raw), batch_size=batch_size, device=device)
        table = preprocessing.decode(outputs)
        labels = preprocessing.row_labels(raw)
        if len(labels.columns):
            table = pd.concat([labels.reset_index(drop=True), table], axis=1)
        if hasattr(raw, "columns") and len(raw) == len(table):
            table.index = raw.index
        return table

    def outputs(
        self, arrays: Mapping[str, NDArray[Any]], *, batch_size: int = BATCH_SIZE, device: str = "auto"
    ) -> NDArray[Any]:
        """The network's outputs for encoded samples: probabilities, standardised predictions, or written tokens.

        Of pictures alone, a model that knows captions gives the probability of each known one.
        """
        from forgeline.bundle.inference import model_outputs, pick_device

        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; allowed: 1 or more")
        if self.task == "retrieval" and "caption" not in arrays:
            from forgeline.bundle.retrieval import caption_probabilities

            return caption_probabilities(self, arrays, batch_size=batch_size, device=device)
        place = pick_device(device)
        return model_outputs(self.model.to(place), self.task, arrays, batch_size=batch_size, device=place)

    def embed(self, raw: Any, *, batch_size: int = BATCH_SIZE, device: str = "auto") -> NDArray[Any]:
        """What the network makes of samples before its last layer: close for samples that it takes for alike.

        Args:
            raw: a file or folder, or data, as `predict` takes them.
            batch_size: samples that go through the network together.
            device: auto, cpu, cuda or cuda:N.

        Returns:
            float32 [samples, width], in the order of the samples.

        Raises:
            DataError: the data are not what the model takes.
            UsageError: the network has no such layer.
        """
        from forgeline.bundle.embedding import embeddings

        return embeddings(self, raw, batch_size=batch_size, device=device)

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        max_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> list[str]:
        """Each prompt with its continuation, for language models.

        Args:
            prompts: texts of at least one token.
            max_tokens: tokens to add to each.
            temperature: 0 takes the likeliest token; 1 draws from the model's own distribution.
            top_k: draw among this many likeliest tokens only.
            top_p: draw among the likeliest tokens that together reach this probability.
            seed: the same seed gives the same text on the same device.
            device: auto, cpu, cuda or cuda:N.

        Raises:
            UsageError: the model is not a language model, or a setting is out of range.
        """
        from forgeline.bundle.generation import check_sampling, continue_texts
        from forgeline.bundle.inference import pick_device

        if self.task != "language_modelling":
            raise UsageError(f"this model is for {self.task}; only language models generate text")
        sampling: dict[str, Any] = {
            "max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
        }  # fmt: skip
        check_sampling(**sampling)
        place = pick_device(device)
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        preprocessing = cast("TextPreprocessing", self.preprocessing)
        return continue_texts(self.model.to(place), preprocessing, texts, seed=seed, **sampling)

    def stream(self, prompt: str, *, device: str = "auto", **settings: Any) -> Iterator[str]:
        """What `generate` adds to a prompt, with the same settings, in pieces as they are made.

        Raises:
            UsageError: as `generate`, when the first piece is asked for; DataError: the prompt is empty.
        """
        from forgeline.bundle.generation import streamed

        yield from streamed(self, prompt, device, settings)

    def sample(
        self,
        count: int,
        condition: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        batch_size: int = BATCH_SIZE,
        image: Any = None,
        **options: Any,
    ) -> NDArray[Any]:
        """Samples that a generator makes.

        Args:
            count: how many.
            condition: what to make, such as `{"label": 3}`: one value for all samples, or one for each. Without it a
                model of labels takes them in turn. A model that translates takes pictures as its `source`.
            seed: the same seed gives the same samples, on the same device and with the same `batch_size`.
            device: auto, cpu, cuda or cuda:N.
            batch_size: samples that are made together.
            image: a picture that samples begin with in the place of noise, or one for each: a file or pixels, as
                `predict` takes them, for families that can.
            options: of the family, such as `steps`.

        Returns:
            Pictures as uint8 [count, height, width, channels], or points as float64 [count, columns].

        Raises:
            UsageError: the model is no generator, or a condition or an option does not fit.
            DataError: a value of a condition is none that the model knows, or the picture cannot be read.
        """
        from forgeline.bundle.sampling import beginning, conditions_of, make

        encoded = conditions_of(self, count, condition or {})
        begun = None if image is None else beginning(self, image)
        made = make(self, count, encoded, seed=seed, device=device, batch_size=batch_size, image=begun, **options)
        return self.preprocessing.decode_samples(made)
