from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeline.masking import redact
from forgeline.tracking.names import KEY_LIMIT, tracked_key, tracked_value


@pytest.mark.parametrize(
    ("key", "tracked"),
    [
        ("val/accuracy", "val/accuracy"),
        ("val/f1[cat]", "val/f1/cat"),
        ("val/f1[a/b]", "val/f1/a/b"),
        ("/x//y/../z/", "x/y/z"),
        ("größe %", "größe _"),
        ("[]", "_"),
        ("", "_"),
    ],
)
def test_keys_become_what_mlflow_takes(key: str, tracked: str) -> None:
    assert tracked_key(key) == tracked


@settings(deadline=None)  # the first example pays for the import of MLflow
@given(st.text())
def test_mlflow_takes_any_key(key: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    tracked = tracked_key(key)
    _validate_metric_name(tracked)
    _validate_param_name(tracked)
    assert len(tracked) <= KEY_LIMIT
    assert tracked_key(tracked) == tracked


@given(st.text(), st.integers(min_value=40, max_value=100))
def test_values_never_pass_the_limit(value: str, limit: int) -> None:
    assert len(tracked_value(value, limit)) <= limit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:s3cret@db:5432/runs", "postgresql://***@db:5432/runs"),
        ("postgresql://ann:s3/c@ret@db/runs", "postgresql://***@db/runs"),
        ("https://token@host/path", "https://***@host/path"),
        ("failed: http://a:b@h/x and http://c:d@i/y", "failed: http://***@h/x and http://***@i/y"),
        ("https://h/x?limit=3&Token=abc;sig=x", "https://h/x?limit=3&Token=***;sig=***"),
        ("postgresql://h/x?user=ann&password=s3cret", "postgresql://h/x?user=ann&password=***"),
        ("sqlite:////home/ann@work/mlflow.db", "sqlite:////home/ann@work/mlflow.db"),
        ("models:/digits@champion", "models:/digits@champion"),
        ("http://127.0.0.1:5000/api?mail=a@b", "http://127.0.0.1:5000/api?mail=a@b"),
    ],
)
def test_secrets_of_addresses_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown
