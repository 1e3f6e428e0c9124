"""Conditions on what is known of items: ``category == "toys" and 5 <= price < 20``.

A condition is read by Python's own parser and walked by a few rules; nothing of it is ever run. It may hold

- names of attributes, in backticks where they are no plain words: `` `unit price` > 3``,
- texts, numbers, True and False, None, and lists of them,
- ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, also in a row (``5 <= price < 20``); ``in`` and ``not in``;
  ``is None`` and ``is not None``,
- ``and``, ``or``, ``not`` and parentheses.

``"vegan" in tags`` asks for one of several values, ``"lamp" in name`` for a part of a text, ``brand in ["a", "b"]`` for
one of these. An item of which the attribute is not known fulfills no comparison, not even ``!=``; ``is None`` finds it.
"""

import ast
import operator
import re
from collections.abc import Callable
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.data.feature_columns import CategoryColumn, FeatureColumn, NumericColumn, TagsColumn
from ancf.data.ids import IdMap
from ancf.errors import InvalidParameterError, UnknownItemError
from ancf.scoring.unknown_ids import refuse_twin

_MAX_LENGTH = 2000
_BACKTICKS = re.compile(r"\"[^\"]*\"|'[^']*'|`([^`]+)`")
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_REVERSED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}

Column = FeatureColumn | IdMap
Flags = NDArray[np.bool_]


class Name(NamedTuple):
    """An attribute by its name."""

    name: str


class Condition:
    """A condition that was read and can be asked of any model's items.

    Parameters
    ----------
    text : str
        The condition.
    where : str
        What messages call it.

    Raises
    ------
    InvalidParameterError
        If it is none; says what it cannot be.

    Examples
    --------
    >>> Condition("price < 20 and category == 'toys'", "where").attribute is None
    True
    >>> Condition("category", "at_most").attribute
    'category'
    """

    def __init__(self, text: Any, where: str) -> None:
        self.where = where
        if not isinstance(text, str) or not text.strip():
            raise InvalidParameterError(f'{where} is {text!r}; give a condition such as "price < 50".')
        self.text = text
        if len(text) > _MAX_LENGTH:
            raise InvalidParameterError(
                f"{where}: a condition of {len(text):,} characters; it may have {_MAX_LENGTH:,}. Items by their ids go "
                "into items= and filter_items=."
            )
        if "\\" in text:
            self._refuse("it holds a backslash")
        self._names: dict[str, str] = {}
        try:
            self._tree = ast.parse(_BACKTICKS.sub(self._plain_name, text).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._refuse("it cannot be read")
        self._check(self._tree)

    def _plain_name(self, match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        plain = f"_quoted_{len(self._names)}"
        self._names[plain] = match[1]
        return plain

    @property
    def attribute(self) -> str | None:
        """The attribute, where the text is nothing but its name; None for a condition."""
        return self._name(self._tree) if isinstance(self._tree, ast.Name) else None

    def _name(self, node: ast.Name) -> str:
        return self._names.get(node.id, node.id)

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidParameterError(
            f"{self.where}: {_text.format_value(self.text, 200)}: {why}. Compare attributes with texts and numbers, "
            "such as \"category == 'toys' and price < 50\"."
        )

    # ---- what may stand in it

    def _check(self, node: ast.expr) -> None:
        """Refuse what no condition holds, before there are items to ask."""
        if isinstance(node, ast.BoolOp):
            for each in node.values:
                self._check_flags(each)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self._check_flags(node.operand)
        elif isinstance(node, ast.Compare):
            operands = [self._operand(each) for each in (node.left, *node.comparators)]
            for left, right in pairwise(operands):
                if isinstance(left, Name) == isinstance(right, Name):
                    self._refuse("each comparison is between an attribute and a value")
        elif not isinstance(node, ast.Name):
            self._refuse("it is no comparison")

    def _check_flags(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name):
            self._refuse(f"{self._name(node)} stands there without a comparison")
        self._check(node)

    def _operand(self, node: ast.expr) -> Any:
        """A name, or the value that a constant or a list of constants stands for."""
        if isinstance(node, ast.Name):
            return Name(self._name(node))
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [self._constant(each) for each in node.elts]
        return self._constant(node)

    def _constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._constant(node.operand)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return -value
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (str, int, float))):
            return node.value
        return self._refuse(f"{ast.unparse(node)} is neither an attribute nor a text or a number")

    # ---- asking

    def holds(self, column_of: Callable[[str], Column], n_items: int) -> Flags:
        """Which items fulfill it (n_items,).

        Parameters
        ----------
        column_of : function
            The column of an attribute by its name.

        Raises
        ------
        InvalidParameterError
            If an attribute or a value is not there, or they are of different kinds.
        """
        if isinstance(self._tree, ast.Name):
            self._refuse(f"{self._name(self._tree)} stands there without a comparison")
        return self._holds(self._tree, column_of, n_items)

    def _holds(self, node: ast.expr, column_of: Callable[[str], Column], n_items: int) -> Flags:
        if isinstance(node, ast.BoolOp):
            parts = [self._holds(each, column_of, n_items) for each in node.values]
            reduce = np.logical_and.reduce if isinstance(node.op, ast.And) else np.logical_or.reduce
            return np.asarray(reduce(parts))
        if isinstance(node, ast.UnaryOp):
            return ~self._holds(node.operand, column_of, n_items)
        assert isinstance(node, ast.Compare)
        flags = np.ones(n_items, bool)
        left = self._operand(node.left)
        for op, right in zip(node.ops, map(self._operand, node.comparators), strict=True):
            flags &= self._compare(left, type(op), right, column_of)
            left = right
        return flags

    def _compare(self, left: Any, op: type[ast.cmpop], right: Any, column_of: Callable[[str], Column]) -> Flags:
        if isinstance(left, Name):
            name, value, contains = left.name, right, False
        else:
            name, value, contains = right.name, left, op in (ast.In, ast.NotIn)
            op = _REVERSED.get(op, op)
        column = column_of(name)
        if value is None or op in (ast.Is, ast.IsNot):
            if value is not None or op not in (ast.Is, ast.IsNot, ast.Eq, ast.NotEq):
                self._refuse('only None is compared by "is"')
            missing = np.zeros(len(column), bool) if isinstance(column, IdMap) else column.missing
            return missing if op in (ast.Is, ast.Eq) else ~missing
        if contains:
            found = self._contains(name, column, value)
        elif op in (ast.In, ast.NotIn):
            if not isinstance(value, list):
                self._refuse(f"what {name} is in must be a list")
            found = self._is_any(name, column, value)
        elif isinstance(value, list):
            self._refuse('a list is compared by "in"')
        elif op in (ast.Eq, ast.NotEq):
            found = self._is_any(name, column, [value])
        else:
            return self._in_order(name, column, op, value)
        known = np.ones(len(found), bool) if isinstance(column, IdMap) else ~column.missing
        return found if op in (ast.Eq, ast.In) else known & ~found

    def _is_any(self, name: str, column: Column, values: list[Any]) -> Flags:
        """Which items have one of these values."""
        if isinstance(column, IdMap):
            positions = column.positions(np.array([*values, None], object)[:-1])
            unknown = np.array([*values, None], object)[:-1][positions < 0]
            refuse_twin(unknown, column, UnknownItemError)
            if len(unknown) == len(values):
                self._refuse(f"no item has the id {_text.format_list(values)}")
            return np.isin(np.arange(len(column)), positions[positions >= 0])
        if isinstance(column, TagsColumn):
            self._refuse(f"{name} holds several values of an item; write {values[0]!r} in {name}")
        if isinstance(column, NumericColumn):
            return np.isin(column.numbers, [self._number(name, value) for value in values])
        texts = [self._as_text(name, value) for value in values]
        if isinstance(column, CategoryColumn):
            return self._has_code(name, column, texts)[column.codes] & ~column.missing
        found = np.array([text in texts for text in column.texts.tolist()], bool)
        if not found.any():
            self._refuse_value(name, texts, sorted({text for text in column.texts.tolist() if text is not None}))
        return found

    def _has_code(self, name: str, column: CategoryColumn | TagsColumn, texts: list[str]) -> Flags:
        """Which of the values of a column are among these texts; one flag more, for a code of -1."""
        known = column.values.tolist()
        if not set(known) & set(texts):
            self._refuse_value(name, texts, known)
        return np.array([*(value in texts for value in known), False], bool)

    def _contains(self, name: str, column: Column, value: Any) -> Flags:
        if isinstance(column, (IdMap, NumericColumn)):
            self._refuse(f"{name} is no text that could hold {value!r}")
        text = self._as_text(name, value)
        if isinstance(column, TagsColumn):
            wanted = self._has_code(name, column, [text])[:-1]
            ends = np.append(0, np.cumsum(wanted[column.codes]))
            return np.asarray(ends[column.indptr[1:]] > ends[column.indptr[:-1]])
        if isinstance(column, CategoryColumn):
            return np.array([*(text in each for each in column.values.tolist()), False], bool)[column.codes]
        return np.array([each is not None and text in each for each in column.texts.tolist()], bool)

    def _in_order(self, name: str, column: Column, op: type[ast.cmpop], value: Any) -> Flags:
        compare = _ORDER[op]
        if isinstance(column, NumericColumn):
            return np.asarray(compare(column.numbers, self._number(name, value)) & ~column.missing)
        if isinstance(column, (IdMap, TagsColumn)):
            self._refuse(f"{name} has no order")
        text = self._as_text(name, value)
        if isinstance(column, CategoryColumn):
            flags = np.array([*(compare(each, text) for each in column.values.tolist()), False], bool)
            return np.asarray(flags[column.codes])
        return np.array([each is not None and compare(each, text) for each in column.texts.tolist()], bool)

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, (str, bool)) or value is None:
            self._refuse(f"{name} is a number, and {value!r} is none")
        return float(value)

    def _as_text(self, name: str, value: Any) -> str:
        if isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            self._refuse(f"{name} is a text; write {str(value)!r}")
        return value

    def _refuse_value(self, name: str, texts: list[str], known: list[str]) -> NoReturn:
        near = get_close_matches(texts[0], known, 1, 0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {_text.format_list(known)}."
        raise InvalidParameterError(
            f"{self.where}: {_text.format_value(self.text, 200)}: no item has the {name} {_text.format_list(texts)}; "
            f"{hint}"
        )
