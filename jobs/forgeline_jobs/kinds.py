"""The kinds that come with Forgeline, described without importing what they need."""

from __future__ import annotations

from forgeline.kinds import KindDescriptor

TRAIN = KindDescriptor(
    name="train",
    help="Train a model, keep its best checkpoint as a bundle, and register it when its gate passes.",
    spec="forgeline_jobs.train.spec:TrainSpec",
    implementation="forgeline_jobs.train.kind:TrainKind",
)
EVALUATE = KindDescriptor(
    name="evaluate",
    help="Measure a registered model on held-out data and write a report.",
    spec="forgeline_jobs.evaluate.spec:EvaluateSpec",
    implementation="forgeline_jobs.evaluate.kind:EvaluateKind",
)
SWEEP = KindDescriptor(
    name="sweep",
    help="Search the keys of a train spec; every trial is a run of its own.",
    spec="forgeline_jobs.sweep.spec:SweepSpec",
    implementation="forgeline_jobs.sweep.kind:SweepKind",
)
PREDICT = KindDescriptor(
    name="predict",
    help="Predict a file or a folder in batches and write Parquet.",
    spec="forgeline_jobs.predict.spec:PredictSpec",
    implementation="forgeline_jobs.predict.kind:PredictKind",
)
