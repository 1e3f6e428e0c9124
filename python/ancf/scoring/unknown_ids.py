"""Ids that a model does not know: which known one each is written like, and the errors that name them.

An unknown id is usually new. But an id that is known in another kind (``"7"`` where the ids are numbers), with spaces
around it, or with the ``.0`` of a column that became float, is a mistake in a table, and answers given in spite of it
are wrong without a word. So such a *twin* is an error wherever unknown ids are allowed.
"""

import contextlib
import re
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np

from ancf import _text
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, UnknownItemError, UnknownUserError

_WHOLE = re.compile(r"([+-]?\d+)(?:\.0+)?")
_KINDS = {"int": "numbers", "str": "text", "uuid": "UUIDs", "bytes": "bytes"}
# Unknown ids of a table that are looked at for a twin; a table of another kind shows it with the first.
_MAX_LOOKED_AT = 10_000


def find_twin(raw: Any, ids: IdMap) -> Any:
    """The known id that an unknown one is written like; None where there is none.

    Examples
    --------
    >>> find_twin("7", IdMap([7, 8])), find_twin(8, IdMap(["7", "8"])), find_twin(" 7.0", IdMap(["7"]))
    (7, '8', '7')
    >>> find_twin("9", IdMap([7, 8])) is None
    True
    """
    if isinstance(raw, np.generic):
        raw = raw.item()
    if isinstance(raw, bool) or (type(raw) is int and ids.kind == "int"):
        return None
    if type(raw) is str and ids.kind == "str" and "." not in raw and raw == raw.strip():
        return None
    if isinstance(raw, bytes) and ids.kind != "bytes":
        with contextlib.suppress(UnicodeDecodeError):
            raw = raw.decode()
    text = str(raw).strip()
    whole = _WHOLE.fullmatch(text)
    candidates: list[Any] = []
    if ids.kind == "str":
        candidates = [str(raw), text, *([whole[1]] if whole else [])]
    elif ids.kind == "int":
        candidates = [int(whole[1])] if whole and len(text) < 40 else []
    elif ids.kind == "bytes":
        candidates = [text.encode("utf-8", "surrogatepass")]
    elif isinstance(raw, str):
        with contextlib.suppress(ValueError):
            candidates = [uuid.UUID(text)]
    return next((each for each in candidates if ids.position(each) >= 0), None)


def first_twin(unknown: Iterable[Any], ids: IdMap) -> tuple[Any, Any] | None:
    """The first of these unknown ids that has a twin, and the twin."""
    for raw in unknown:
        twin = find_twin(raw, ids)
        if twin is not None:
            return raw, twin
    return None


def describe_twin(raw: Any, twin: Any, ids: IdMap) -> str:
    """What is wrong with an id that has a twin, in words."""
    if isinstance(raw, np.generic):
        raw = raw.item()
    if type(raw) is type(twin):
        return f"{raw!r} is known as {twin!r}"
    kinds = {int: "int", float: "int", str: "str", bytes: "bytes", uuid.UUID: "uuid"}
    given = _KINDS.get(kinds.get(type(raw), ""), f"of the type {type(raw).__name__}")
    return f"the ids given are {given}, the model's are {_KINDS[ids.kind]}; {_quoted(raw)} is known as {_quoted(twin)}"


def _quoted(raw: Any) -> str:
    return f'"{raw}"' if isinstance(raw, str) else repr(raw)


def hint_for(unknown: list[Any], ids: IdMap) -> str:
    """What may have been meant by ids none of which is known: a twin, other letters or spaces, what the ids are like.

    Examples
    --------
    >>> hint_for(["a1", "zz"], IdMap(["A1", "B2"]))
    "'a1' is known as 'A1'"
    >>> hint_for(["lamp"], IdMap(["A1", "B2"]))
    "the model's are like 'A1', 'B2'"
    """
    found = first_twin(unknown[:_MAX_LOOKED_AT], ids)
    if found is not None:
        return describe_twin(*found, ids)
    if ids.kind == "str":
        plain = {str(each).strip().casefold(): each for each in reversed(ids.values.tolist())}
        for raw in unknown[:_MAX_LOOKED_AT]:
            near = plain.get(str(raw).strip().casefold())
            if near is not None:
                return f"{raw!r} is known as {near!r}"
    hint = ids.hint(unknown[0]) if unknown else ""
    return hint or f"the model's are like {_text.format_list(ids.values, 3)}"


def used_ids(table: Interactions, side: str) -> IdMap:
    """The users or items (``side``) that events of a table belong to."""
    ids, used = (table.user_ids, table.users) if side == "user" else (table.item_ids, table.items)
    return IdMap._unchecked(ids.values[np.unique(used)], ids.kind)


def refuse_other_table(given: IdMap, known: IdMap, what: str) -> None:
    """Refuse the ids of a table if none of them is known, and some are known in another kind or spelling.

    Parameters
    ----------
    given : ids of a table that occur in it
    known : the model's
    what : how to call the table's ids, such as ``"the items of the test table"``

    Raises
    ------
    InvalidDataError
        With an id and the one that the model knows.
    """
    if not len(given) or not len(known) or (given.kind == known.kind and (known.positions(given.values) >= 0).any()):
        return
    found = first_twin(given.values[:_MAX_LOOKED_AT].tolist(), known)
    if found is not None:
        raise InvalidDataError(
            f"none of {what} is known to the model: {describe_twin(*found, known)}. Read both tables alike, so that "
            "the same id is the same thing in both."
        )


def refuse_twin(unknown: Iterable[Any], ids: IdMap, kind: type[UnknownUserError] | type[UnknownItemError]) -> None:
    """Refuse unknown ids that are otherwise allowed, if one of them is known in another kind or spelling.

    Raises
    ------
    UnknownUserError, UnknownItemError
        As ``kind`` says.
    """
    found = first_twin(unknown, ids)
    if found is not None:
        side = "user" if kind is UnknownUserError else "item"
        raise kind(
            f"{side} {found[0]!r} was not in training: {describe_twin(*found, ids)}. Give the id as the training table "
            "has it."
        )
