"""The bars of the image classifiers of the zoo, on test data."""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (Bar(name="mnist5k LeNet", spec="zoo/lenet.yaml", metric="accuracy", at_least=0.97, limit_s=60),)
