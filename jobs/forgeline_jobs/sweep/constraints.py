"""Constraints between the keys of a space: `architecture.width * data.batch_size <= 4096`.

Only names, numbers, texts, arithmetic, comparisons and `and`, `or`, `not` mean something; nothing is called. A name
is a key of the space, or one of the train spec; one that a trial does not have (another choice was taken) makes the
comparison that it is in hold.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from forgeline.suggestions import did_you_mean

_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ALLOWED = "keys, numbers, + - * / // %, < <= > >= == !=, and, or, not"


class Constraint:
    """One constraint.

    Args:
        text: as it is written.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise ValueError(f"got {text!r}, which is not an expression; allowed: {_ALLOWED}") from error
        self.keys = tuple(dict.fromkeys(_keys(self._tree, text)))

    def check_keys(self, known: Collection[str]) -> None:
        """Raises ValueError when it names a key that is not known."""
        for key in self.keys:
            if key not in known:
                raise ValueError(f"{self.text!r} names {key}, which is neither in the space nor in the train spec; "
                                 f"{did_you_mean(key, known)}")  # fmt: skip

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether values satisfy it.

        Raises:
            ValueError: it cannot be computed with these values.
        """
        try:
            return bool(_value(self._tree, values))
        except _Absent:
            return True
        except (TypeError, ArithmeticError) as error:
            shown = ", ".join(f"{key} {values.get(key)!r}" for key in self.keys)
            raise ValueError(f"{self.text!r} cannot be computed with {shown}: {error}") from error


def broken_by(constraint: Constraint, values: Mapping[str, Any]) -> bool:
    """Whether values break a constraint, or it cannot be computed with them; keys that they lack break nothing."""
    try:
        return not constraint.holds(values)
    except ValueError:
        return True


class _Absent(Exception):
    """A key that the trial does not have."""


def _keys(node: ast.AST, text: str) -> Iterator[str]:
    key = _key(node)
    if key is not None:
        yield key
        return
    known = isinstance(node, ast.BoolOp | ast.Compare | ast.Constant | ast.boolop | ast.expr_context) or (
        isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC
    ) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub))  # fmt: skip
    if isinstance(node, ast.Compare) and any(type(each) not in _COMPARISONS for each in node.ops):
        known = False
    if not known:
        raise ValueError(f"got {text!r}; allowed: {_ALLOWED}")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _keys(child, text)


def _key(node: ast.AST) -> str | None:
    """The dotted key that a node is."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        above = _key(node.value)
        return None if above is None else f"{above}.{node.attr}"
    return None


def _value(node: ast.AST, values: Mapping[str, Any]) -> Any:
    key = _key(node)
    if key is not None:
        if key not in values:
            raise _Absent
        return values[key]
    match node:
        case ast.Constant(value=value):
            return value
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _value(part, values)
        case ast.UnaryOp(operand=part):
            return -_value(part, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, values), _value(right, values))
        case ast.Compare():
            return _compared(node, values)
    raise ValueError(f"nothing is known of {ast.dump(node)}")


def _compared(node: ast.Compare, values: Mapping[str, Any]) -> bool:
    try:
        sides = [_value(side, values) for side in (node.left, *node.comparators)]
    except _Absent:
        return True
    return all(_COMPARISONS[type(op)](sides[at], sides[at + 1]) for at, op in enumerate(node.ops))
