"""A pt2 archive held against what it may contain, before torch reads it.

`torch.export.load` unpickles whatever an archive marks as pickled, evaluates size expressions as Python (through
sympy), runs guards as source, and looks operators up by any dotted name in `torch`: an archive is a program. So one is
taken only where every file, operator, expression and record in it is of a kind that our exports consist of, and it is
written anew from what was checked, because two readers of one zip file need not agree on what is in it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from forgeline.errors import BundleError

_FILES = re.compile(
    r"archive/(data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json"
    r"|archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id)"
)
_MODEL = "archive/models/model.json"
_SAMPLES = "archive/data/sample_inputs/model.pt"
_CONFIGS = ("archive/data/weights/model_weights_config.json", "archive/data/constants/model_constants_config.json")
_LARGEST_JSON_BYTES = 256 * 2**20
_LARGEST_DEPTH = 200

_OPERATORS = re.compile(
    r"torch\.ops\.aten\.[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.sym_(max|min|float|int|not|ite|sum|sqrt)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_|pow)"
    r"|math\.(ceil|floor|trunc)"
)
# Of all operators of ATen, those that write or read files or print; held to be all of them by a test.
_WITH_EFFECTS = frozenset({"_print", "from_file", "save", "warn"})

_FUNCTIONS = frozenset(
    {
        "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality", "FloatTrueDiv", "FloorDiv",
        "FloorToInt", "Ge", "GreaterThan", "Gt", "IntTrueDiv", "Integer", "Le", "LessThan", "Lt", "Max", "Min", "Mod",
        "ModularIndexing", "Mul", "Ne", "Not", "Or", "Piecewise", "PythonMod", "Rational", "RoundToInt",
        "StrictGreaterThan", "StrictLessThan", "ToFloat", "TruncToFloat", "TruncToInt", "Unequality", "Where",
        "ceiling", "false", "floor", "int_oo", "oo", "true",
    }
)  # fmt: skip
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\d{1,15}(\.\d{1,15})?|//|<=|>=|==|!=|\*(?!\*)|[-+/%(),<>&|~])"
)
_LONGEST_EXPRESSION = 2000
# What zipfile and json raise for what they cannot read, and what is not of the form that it should be.
_BROKEN = (
    zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip
_SYMBOL = re.compile(r"(?:[su]|zuf|zf)\d{1,9}")
# How torch writes a size by itself, with what is known of it.
_DECLARED = re.compile(
    r"Symbol\('((?:[su]|zuf|zf)\d{1,9})'(?:, (?:positive|nonnegative|integer)=(?:True|False)){0,3}\)"
)
# Other powers could be numbers that take years to compute.
_SMALL_POWER = re.compile(r"Pow\(((?:[su]|zuf|zf)\d{1,9}), Integer\((?:-1|[2-4])\)\)")


def checked_archive(content: bytes) -> io.BytesIO:
    """The same archive, written anew from the parts that were checked.

    Raises:
        BundleError: it is not an archive, or holds something that a model exported by Forgeline has none of.
    """
    try:
        return _copied(content)
    except _Unlisted as error:
        raise BundleError(
            f"a pt2 archive that Forgeline did not write: {error}; it is not opened, since it could run code"
        ) from error


def reason_to_refuse(content: bytes) -> str | None:
    """Why an archive would not be opened; None where it would."""
    try:
        _copied(content)
    except _Unlisted as error:
        return str(error)
    return None


class _Unlisted(Exception):
    """Something in an archive is not on the list; the message says what."""


def _copied(content: bytes) -> io.BytesIO:
    fresh = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(fresh, "w") as copied:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            _check_names(entries)
            if _SAMPLES in names and archive.getinfo(_SAMPLES).file_size:
                raise _Unlisted("it holds pickled samples")
            for name in (_MODEL, *_CONFIGS):
                if name not in names:
                    raise _Unlisted(f"it has no {name}")
                _check_json(archive, name)
            for entry in entries:
                copied.writestr(zipfile.ZipInfo(entry.filename), archive.read(entry))
    except _BROKEN as error:
        raise _Unlisted(str(error) or "it is no archive") from error
    fresh.seek(0)
    return fresh


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if not _FILES.fullmatch(entry.filename):
            raise _Unlisted(f"it holds a file {entry.filename!r}")
        if entry.filename in seen:
            raise _Unlisted(f"it holds {entry.filename!r} twice")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise _Unlisted(f"{entry.filename!r} is compressed")
        seen.add(entry.filename)


def _check_json(archive: zipfile.ZipFile, name: str) -> None:
    size = archive.getinfo(name).file_size
    if size > _LARGEST_JSON_BYTES:
        raise _Unlisted(f"{name} has {size:,} bytes; at most {_LARGEST_JSON_BYTES:,} are read")
    document = json.loads(archive.read(name))
    if name in _CONFIGS:
        _check_tensors(document)
    _check(document, depth=0)
    ranges = document.get("range_constraints", {}) if isinstance(document, dict) else {}
    for symbol in ranges:
        _check_expression(symbol)


def _check_tensors(document: Any) -> None:
    """Every tensor is kept as its bytes, never as a pickle."""
    for tensor, record in document["config"].items():
        if record.get("use_pickle") is not False or not re.fullmatch(r"(weight|tensor)_\d+", record["path_name"]):
            raise _Unlisted(f"{tensor!r} is pickled or no tensor")


def _check(value: Any, *, depth: int) -> None:
    if depth > _LARGEST_DEPTH:
        raise _Unlisted(f"it is nested deeper than {_LARGEST_DEPTH}")
    if isinstance(value, list):
        for item in value:
            _check(item, depth=depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_entry(key, item)
            _check(item, depth=depth + 1)


def _check_entry(key: str, item: Any) -> None:
    """Refuse what torch would look up, evaluate or run."""
    match key:
        case "target" | "as_operator" if isinstance(item, str):
            _check_operator(item)
        case "expr_str":
            _check_expression(item)
        case "as_custom_obj" | "custom_obj" | "custom_obj_values" | "guards_code" | "treespec_namedtuple_fields":
            if item:
                raise _Unlisted(f"it has {key}")
        case "metadata":
            if item:
                raise _Unlisted("an operation has notes")
        case "in_spec" | "out_spec":
            _check_structure(item)


def _check_operator(name: str) -> None:
    if not _OPERATORS.fullmatch(name) or (name.startswith("torch.ops.aten.") and name.split(".")[3] in _WITH_EFFECTS):
        raise _Unlisted(f"it has the operator {name!r}")


def _check_expression(text: Any) -> None:
    if not isinstance(text, str) or len(text) > _LONGEST_EXPRESSION:
        raise _Unlisted("it has a size that is no short expression")
    place = 0
    bare = _SMALL_POWER.sub(r"\1", _DECLARED.sub(r"\1", text)).rstrip()
    while place < len(bare):
        token = _TOKEN.match(bare, place)
        if token is None:
            raise _Unlisted(f"it has the size {text[:80]!r}")
        name = token["name"]
        if name is not None and name not in _FUNCTIONS and not _SYMBOL.fullmatch(name):
            raise _Unlisted(f"it has the size {text[:80]!r}")
        place = token.end()


def _check_structure(text: Any) -> None:
    """Inputs and outputs are nested in tuples, lists and dicts of text alone."""
    document = json.loads(text) if isinstance(text, str) else None
    if not isinstance(document, list) or len(document) != 2:
        raise _Unlisted("its inputs or outputs are of no known structure")
    pending = [document[1]]
    while pending:
        node = pending.pop()
        if node["type"] not in (None, "builtins.tuple", "builtins.list", "builtins.dict"):
            raise _Unlisted(f"its inputs or outputs are a {node['type']!r}")
        keys = json.loads(node["context"] or "null")  # of a dict; of anything else it could name a module to import
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise _Unlisted("its inputs or outputs are of no known structure")
        pending += node["children_spec"]
