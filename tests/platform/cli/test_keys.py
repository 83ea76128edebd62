"""What `architectures show` and `data show` say of settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from forgeline.cli.keys import as_yaml, keys_of


class Split(BaseModel):
    """Shares that are held out."""

    val: float = Field(default=0.1, gt=0, lt=1)
    column: str | None = None


class Config(BaseModel):
    path: str = Field(description="The file.")
    hidden: tuple[int, ...] = Field(default=(128, 64), description="Units of each layer.")
    activation: Literal["relu", "gelu"] = "relu"
    wide: bool = False
    context: int | None = Field(default=None, ge=1)
    split: Split = Split(val=0.2)


def test_keys_have_types_defaults_and_what_lies_inside() -> None:
    rows = {row["key"]: row for row in keys_of(Config)}
    assert {key: row["type"] for key, row in rows.items()} == {
        "path": "text",
        "hidden": "list of (whole number)",
        "activation": "relu | gelu",
        "wide": "true or false",
        "context": "whole number, at least 1 or null",
        "split": "block",
        "split.val": "number, above 0, below 1",
        "split.column": "text or null",
    }
    assert [key for key, row in rows.items() if row["required"]] == ["path"]
    assert rows["path"]["meaning"] == "The file."
    defaults = {key: as_yaml(row["default"]) for key, row in rows.items()}
    assert (defaults["hidden"], defaults["wide"], defaults["split.val"]) == ("[128, 64]", "false", "0.2")


def test_settings_of_what_is_installed(forgeline: object) -> None:
    from typing import Any, cast

    call = cast("Any", forgeline)
    mlp, table = call("architectures", "show", "mlp").stdout, call("data", "show", "tabular").stdout
    assert "list of (whole number, above 0)" in mlp
    assert "[128, 128]" in mlp
    assert "split.val" in table
