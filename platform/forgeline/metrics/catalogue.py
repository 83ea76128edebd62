"""Which metrics each task has, and which way is better.

Light: specs, gates and listings read it before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from forgeline.errors import SpecError
from forgeline.suggestions import did_you_mean, nearest

# Tasks whose models give no output per sample that could be held against a target.
LOSS_ONLY = frozenset({"language_modelling", "masked_language_modelling", "generation"})

# Tasks whose outputs are probabilities of classes; of tokens, a token is a sample.
CLASSIFYING = frozenset({"classification", "token_classification"})

# The splits and the part of a run that a metric's name may be prefixed with.
_PREFIX = re.compile(r"^(train|val|test)/")


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricInfo:
    """What a metric means.

    Attributes:
        higher_is_better: direction of improvement.
        help: one line for listings and reports.
        per_class: whether `name[class]` exists beside `name`.
        in_training: whether validation measures it too, and not `evaluate` alone.
    """

    higher_is_better: bool
    help: str
    per_class: bool = False
    in_training: bool = True


_REGRESSION = {
    "loss": MetricInfo(higher_is_better=False, help="squared error of standardised targets, which training minimises"),
    "mse": MetricInfo(higher_is_better=False, help="mean squared error, in squared units of the target"),
    "rmse": MetricInfo(higher_is_better=False, help="root of the mean squared error, in units of the target"),
    "mae": MetricInfo(higher_is_better=False, help="mean absolute error, in units of the target"),
    "r2": MetricInfo(higher_is_better=True, help="share of the variance explained; 1 perfect, 0 the mean"),
}

_CLASSIFICATION = {
    "loss": MetricInfo(higher_is_better=False, help="cross-entropy without label smoothing and class weights, nats"),
    "accuracy": MetricInfo(higher_is_better=True, help="share of samples whose likeliest class is right"),
    "precision": MetricInfo(
        higher_is_better=True, help="share of a class's predictions that are right, mean", per_class=True
    ),
    "recall": MetricInfo(higher_is_better=True, help="share of a class's samples that are found, mean", per_class=True),
    "f1": MetricInfo(higher_is_better=True, help="harmonic mean of precision and recall, mean", per_class=True),
    "roc_auc": MetricInfo(
        higher_is_better=True, help="area under the ROC curve; several classes: mean of one against rest"
    ),
    "log_loss": MetricInfo(higher_is_better=False, help="mean negative log probability of the truth, nats"),
    "ece": MetricInfo(higher_is_better=False, help="expected calibration error over 15 equal bins"),
}

METRICS: Mapping[str, Mapping[str, MetricInfo]] = MappingProxyType(
    {
        "classification": MappingProxyType(_CLASSIFICATION),
        "token_classification": MappingProxyType(_CLASSIFICATION),
        "regression": MappingProxyType(_REGRESSION),
        "forecasting": MappingProxyType(
            _REGRESSION
            | {
                "mase": MetricInfo(
                    higher_is_better=False, help="absolute error over that of the naive forecast within train"
                )
            }
        ),
        "language_modelling": MappingProxyType(
            {
                "loss": MetricInfo(higher_is_better=False, help="mean cross-entropy per token, nats"),
                "perplexity": MetricInfo(higher_is_better=False, help="exp(loss)"),
                "bits_per_character": MetricInfo(
                    higher_is_better=False, help="cross-entropy per character of the text, bits"
                ),
            }
        ),
        "masked_language_modelling": MappingProxyType(
            {
                "loss": MetricInfo(higher_is_better=False, help="mean cross-entropy per hidden token, nats"),
                "perplexity": MetricInfo(higher_is_better=False, help="exp(loss)"),
            }
        ),
        "translation": MappingProxyType(
            {
                "loss": MetricInfo(
                    higher_is_better=False, help="cross-entropy per token after the true ones before it, nats"
                ),
                "exact_match": MetricInfo(
                    higher_is_better=True, help="share of targets that are written without error"
                ),
                "token_error_rate": MetricInfo(
                    higher_is_better=False, help="edits from what is written to the targets, over the targets' tokens"
                ),
            }
        ),
        "retrieval": MappingProxyType(
            {
                "loss": MetricInfo(
                    higher_is_better=False, help="cross-entropy of each pair among all of the split, both ways, nats"
                ),
                "recall_at_1": MetricInfo(
                    higher_is_better=True, help="the lower of text_recall_at_1 and image_recall_at_1"
                ),
                "text_recall_at_1": MetricInfo(
                    higher_is_better=True, help="share of pictures to which no caption of another meaning is closer"
                ),
                "text_recall_at_5": MetricInfo(
                    higher_is_better=True, help="share of pictures to which captions of at most 4 meanings are closer"
                ),
                "image_recall_at_1": MetricInfo(
                    higher_is_better=True, help="share of captions to which no picture of another meaning is closer"
                ),
                "image_recall_at_5": MetricInfo(
                    higher_is_better=True, help="share of captions to which at most 4 such pictures are closer"
                ),
            }
        ),
        "reconstruction": MappingProxyType(
            {
                "loss": MetricInfo(
                    higher_is_better=False, help="mean squared error of the pixels, black 0 and the brightest 1"
                ),
                "psnr": MetricInfo(
                    higher_is_better=True, help="peak signal-to-noise ratio of the reconstructions, mean, dB"
                ),
                "psnr_noisy": MetricInfo(higher_is_better=True, help="the same of what the model was shown, dB"),
                "psnr_gain": MetricInfo(higher_is_better=True, help="psnr less psnr_noisy: what denoising gains, dB"),
                "anomaly_auroc": MetricInfo(
                    higher_is_better=True,
                    help="area under the ROC curve of the error, where the split has samples that are not normal",
                    in_training=False,
                ),
            }
        ),
        "generation": MappingProxyType(
            {
                "loss": MetricInfo(
                    higher_is_better=False, help="what the family minimises; of adversaries, the discriminator's loss"
                ),
                "negative_elbo": MetricInfo(
                    higher_is_better=False, help="bound on the negative log likelihood of a sample, nats"
                ),
                "reconstruction": MetricInfo(
                    higher_is_better=False, help="its part of the sample given its latent numbers, nats"
                ),
                "kl": MetricInfo(
                    higher_is_better=False, help="its divergence of the latent numbers from their prior, nats"
                ),
                "frechet_distance": MetricInfo(
                    higher_is_better=False,
                    help="squared distance of the samples from the split in the judge's features, as normal",
                    in_training=False,
                ),
                "frechet_distance_untrained": MetricInfo(
                    higher_is_better=False, help="the same of the model with fresh weights", in_training=False
                ),
                "judge_score": MetricInfo(
                    higher_is_better=True,
                    help="inception-style: how sure the judge is of a sample and how varied they are; 1 is worst",
                    in_training=False,
                ),
                "judge_accuracy": MetricInfo(
                    higher_is_better=True,
                    help="share of samples of which the judge reads all that was asked for",
                    in_training=False,
                ),
                "judge_own_accuracy": MetricInfo(
                    higher_is_better=True,
                    help="share of the split's own samples of which the judge reads all",
                    in_training=False,
                ),
                "inception_frechet_distance": MetricInfo(
                    higher_is_better=False,
                    help="squared distance of the samples from the split in Inception's features, as normal",
                    in_training=False,
                ),
                "inception_score": MetricInfo(
                    higher_is_better=True,
                    help="how sure Inception is of a sample and how varied they are; 1 is worst",
                    in_training=False,
                ),
                "modes": MetricInfo(
                    higher_is_better=True, help="modes with a sample within 3 deviations", in_training=False
                ),
                "high_quality": MetricInfo(
                    higher_is_better=True,
                    help="share of samples within 3 deviations of the nearest mode",
                    in_training=False,
                ),
            }
        ),
    }
)


def metric_info(task: str, name: str, *, key: str | None = None) -> MetricInfo:
    """What `name` means for the task; `val/f1[cat]` is answered by `f1`.

    Raises:
        SpecError: the task has no such metric; the message has the nearest one.
    """
    known = METRICS[task]
    bare = _PREFIX.sub("", name)
    family, bracket, _ = bare.partition("[")
    info = known.get(family)
    if info is None or (bracket and not (info.per_class and bare.endswith("]"))):
        meant = nearest(family, known)
        hint = f"did you mean `{name.removesuffix(bare)}{meant}`?" if meant else did_you_mean(bare, known)
        raise SpecError(f"{task} has no metric {name!r}; {hint}", key=key)
    return info
