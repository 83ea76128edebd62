"""The data sources that come with Forgeline."""

from __future__ import annotations

from forgeline_jobs.data.descriptor import DataSource, Modality

_TABLE = ("classification", "regression")
_IMAGE = ("classification", "generation", "reconstruction")
_TEXT = ("language_modelling", "masked_language_modelling", "translation")


def _builtin(
    name: str, help: str, *, modality: Modality, task: str | tuple[str, ...], home: str, stem: str
) -> DataSource:
    module = f"forgeline_jobs.data.{home}"
    return DataSource(
        name=name,
        help=help,
        modality=modality,
        tasks=(task,) if isinstance(task, str) else task,
        config=f"{module}:{''.join(part.capitalize() for part in stem.split('_'))}Config",
        prepare_path=f"{module}:prepare_{stem}",
    )


MNIST5K = _builtin(
    "mnist5k",
    "5,000 real MNIST digits, 28x28 grey, 10 classes; fixed split 3,600/400/1,000.",
    modality="image",
    task=_IMAGE,
    home="builtin_images",
    stem="mnist5k",
)
DIGITS = _builtin(
    "digits",
    "1,797 digits of scikit-learn, 8x8 grey, 10 classes.",
    modality="image",
    task=_IMAGE,
    home="builtin_images",
    stem="digits",
)
MNIST_STYLES = _builtin(
    "mnist-styles",
    "The digits of mnist5k, half of them in another style, to be translated; fixed split 3,600/400/1,000.",
    modality="image",
    task="generation",
    home="builtin_styles",
    stem="mnist_styles",
)
GAUSSIANS25 = _builtin(
    "gaussians25",
    "37,500 points of 25 Gaussians on a 5x5 grid, to be made by a generator; fixed split 25,000/2,500/10,000.",
    modality="table",
    task="generation",
    home="builtin_points",
    stem="gaussians25",
)
BREAST_CANCER = _builtin(
    "breast-cancer",
    "569 tumours, 30 measurements, malignant or benign (Wisconsin diagnostic set).",
    modality="table",
    task="classification",
    home="builtin_tables",
    stem="breast_cancer",
)
WINE = _builtin(
    "wine",
    "178 wines, 13 measurements, 3 growers.",
    modality="table",
    task="classification",
    home="builtin_tables",
    stem="wine",
)
DIABETES = _builtin(
    "diabetes",
    "442 patients, 10 measurements, progression of the disease after a year.",
    modality="table",
    task="regression",
    home="builtin_tables",
    stem="diabetes",
)
MNIST1D = _builtin(
    "mnist1d",
    "5,000 signals of 40 points, 10 classes; the published 1,000 are test, a tenth of the other 4,000 val.",
    modality="series",
    task="classification",
    home="builtin_series",
    stem="mnist1d",
)
SUNSPOTS = _builtin(
    "sunspots",
    "Yearly sunspot numbers 1700-2008; the last fifth is test.",
    modality="series",
    task="forecasting",
    home="builtin_series",
    stem="sunspots",
)
TINYSHAKESPEARE = _builtin(
    "tinyshakespeare",
    "1.1 million characters of Shakespeare; the last tenth is test.",
    modality="text",
    task=_TEXT,
    home="builtin_text",
    stem="tinyshakespeare",
)
SHAKESPEARE_MARKS = _builtin(
    "shakespeare-marks",
    "Words of Tiny Shakespeare without their marks: which one follows each word? Fixed split.",
    modality="text",
    task="token_classification",
    home="builtin_marks",
    stem="shakespeare_marks",
)
SHAKESPEARE_SENTENCES = _builtin(
    "shakespeare-sentences",
    "Sentences of tinyshakespeare without their last mark: question, exclamation or statement; 1,000 labels of 8,070.",
    modality="text",
    task="classification",
    home="builtin_sentences",
    stem="shakespeare_sentences",
)
CORA = _builtin(
    "cora",
    "2,708 papers citing each other, 1,433 words, 7 subjects; the published split 140/500/1,000.",
    modality="graph",
    task="classification",
    home="builtin_graphs",
    stem="cora",
)
DIGIT_GRAPHS = _builtin(
    "digit-graphs",
    "The 1,797 digits of scikit-learn as graphs: a node for each pixel with ink, edges to its neighbours; 10 classes.",
    modality="graph",
    task="classification",
    home="builtin_digit_graphs",
    stem="digit_graphs",
)
REVERSE_COPY = _builtin(
    "reverse-copy",
    "12,000 random strings of 20 letters and the same backwards; fixed split 10,000/1,000/1,000.",
    modality="pairs",
    task="translation",
    home="builtin_pairs",
    stem="reverse_copy",
)
CMUDICT = _builtin(
    "cmudict",
    "106,317 English words of 3 to 10 letters and how they sound, 39 phonemes; 1,000 each are val and test.",
    modality="pairs",
    task="translation",
    home="builtin_pairs",
    stem="cmudict",
)
CAPTIONED_SHAPES = DataSource(
    name="captioned-shapes",
    help="7,776 pictures of a coloured shape in one of nine places, each with its caption; split 6,048/648/1,080.",
    modality="captions",
    tasks=("translation", "retrieval", "generation"),
    config="forgeline_jobs.data.builtin_captions:CaptionedShapesConfig",
    prepare_path="forgeline_jobs.data.builtin_captions:prepare_captioned_shapes",
)
TABULAR = DataSource(
    name="tabular",
    help="Your own table: CSV or Parquet, one row per sample, a target column.",
    modality="table",
    tasks=_TABLE,
    config="forgeline_jobs.data.tabular:TabularConfig",
    prepare_path="forgeline_jobs.data.tabular:prepare_tabular",
)
IMAGES = DataSource(
    name="images",
    help="Your own images: a folder per class, or an .npz file with `images` and `labels`.",
    modality="image",
    tasks=_IMAGE,
    config="forgeline_jobs.data.images:ImagesConfig",
    prepare_path="forgeline_jobs.data.images:prepare_images",
)
TEXT = DataSource(
    name="text",
    help="Your own text: a file, a folder of files, or JSONL.",
    modality="text",
    tasks=_TEXT,
    config="forgeline_jobs.data.text:TextConfig",
    prepare_path="forgeline_jobs.data.text:prepare_text",
)
SERIES = DataSource(
    name="series",
    help="Your own series: a table in the order of time to forecast, or series with a label to classify.",
    modality="series",
    tasks=("forecasting", "classification"),
    config="forgeline_jobs.data.series:SeriesConfig",
    prepare_path="forgeline_jobs.data.series:prepare_series",
)
GRAPHS = DataSource(
    name="graphs",
    help="Your own graphs: an .npz file with `x`, `edge_index`, `graph` and `y`, to classify each of them.",
    modality="graph",
    tasks=("classification",),
    config="forgeline_jobs.data.graphs:GraphsConfig",
    prepare_path="forgeline_jobs.data.graphs:prepare_graphs",
)
GRAPH = DataSource(
    name="graph",
    help="Your own graph: an .npz file with `x`, `edge_index` and `y`, to classify its nodes.",
    modality="graph",
    tasks=("classification",),
    config="forgeline_jobs.data.graph:GraphConfig",
    prepare_path="forgeline_jobs.data.graph:prepare_graph",
)
