"""What a caller leaves out of a table: items that are no goods, and users and items with too few events (the k-core).

The k-core of a table (Seidman, "Network structure and minimum degree", 1983; in recommendation since McAuley et al.,
2015) is its largest part in which every user has at least so many events and every item, too. Removing a user takes
events from items, and the other way round, so it goes on until nothing changes. The part is the same whatever is
removed first.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._text import format_value
from ancf.errors import InvalidParameterError

_N_SHOWN = 5
_PATTERN_KINDS = (str, bytes, int, float, Decimal, np.generic, uuid.UUID, re.Pattern)
_NEVER = np.iinfo(np.int32).max


class CoreRounds(NamedTuple):
    """In which round each user and each item fell out of the k-core; ``_NEVER`` for those that are in it."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]


def core_rounds(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int, min_user: int, min_item: int
) -> CoreRounds:
    """Remove users with fewer than ``min_user`` of these events, then items with fewer than ``min_item``, and again.

    Examples
    --------
    >>> rounds = core_rounds(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), 3, 2, 2, 2)
    >>> (rounds.users < 9).tolist(), (rounds.items < 9).tolist()
    ([False, False, True], [False, False])
    """
    rounds = CoreRounds(np.full(n_users, _NEVER, np.int32), np.full(n_items, _NEVER, np.int32))
    at, unchanged = 0, 0
    while unchanged < 2:
        codes, fallen, limit = (items, rounds.items, min_item) if at % 2 else (users, rounds.users, min_user)
        few = (np.bincount(codes, minlength=len(fallen)) < limit) & (fallen == _NEVER)
        fallen[few] = at
        kept = ~few[codes]
        unchanged = unchanged + 1 if kept.all() else 0
        users, items = users[kept], items[kept]
        at += 1
    return rounds


class ItemPatterns:
    """The items that ``exclude_items`` names: ids, patterns with ``*`` and ``?``, compiled regular expressions.

    Ids are compared as text, so that ``85`` and ``"85"`` name the same item, whatever the kind of the ids.
    """

    def __init__(self, given: Any) -> None:
        is_one = isinstance(given, (str, bytes, re.Pattern)) or not isinstance(given, Iterable)
        if isinstance(given, Mapping):
            raise InvalidParameterError(
                f"exclude_items is {format_value(given)}, a mapping; give a list of ids and patterns."
            )
        if isinstance(given, type) or (hasattr(given, "ndim") and given.ndim != 1):
            raise InvalidParameterError(f"exclude_items is {format_value(given)}; give a list of ids and patterns.")
        self._entries: list[Any] = [given] if is_one else list(given)
        for entry in self._entries:
            if isinstance(entry, bool) or not isinstance(entry, _PATTERN_KINDS) or entry != entry:
                raise InvalidParameterError(f"exclude_items: {entry!r} is no id and no pattern. Give ids or text.")

    def __bool__(self) -> bool:
        return bool(self._entries)

    def matching(self, ids: NDArray[Any]) -> tuple[NDArray[np.bool_], list[str]]:
        """Which of these ids are named, and the entries that name none."""
        texts = [_text(each) for each in ids.tolist()]
        known = {text: at for at, text in enumerate(texts)}
        named, idle = np.zeros(len(texts), bool), []
        for entry in self._entries:
            if isinstance(entry, re.Pattern):
                pattern = entry if isinstance(entry.pattern, str) else re.compile(entry.pattern.decode())
                found = [at for at, text in enumerate(texts) if pattern.search(text)]
            elif isinstance(entry, str) and ("*" in entry or "?" in entry):
                wildcards = re.escape(entry).replace(r"\*", ".*").replace(r"\?", ".")
                matches = re.compile(wildcards, re.DOTALL).fullmatch
                found = [at for at, text in enumerate(texts) if matches(text)]
            else:
                found = [known[_text(entry)]] if _text(entry) in known else []
            named[found] = True
            if not found:
                idle.append(entry.pattern if isinstance(entry, re.Pattern) else str(entry))
        return named, idle


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (float, np.floating)) and value.is_integer():
        return str(int(value))
    return str(value).strip() if isinstance(value, str) else str(value)


def count_ids(codes: NDArray[Any], ids: NDArray[Any]) -> str:
    """The most frequent of these ids with their numbers, for a report: ``"POST" 12 times, "M" once``."""
    return describe_counts(np.bincount(codes, minlength=len(ids)), ids)


def describe_counts(counts: NDArray[Any], ids: NDArray[Any]) -> str:
    """The same, where it was counted how often each of the ids occurs."""
    most = [at for at in np.argsort(-counts, kind="stable").tolist() if counts[at]]
    shown = [f'"{_text(ids[at])}" {count_times(int(counts[at]))}' for at in most[:_N_SHOWN]]
    return ", ".join([*shown, "…"] if len(most) > _N_SHOWN else shown)


def count_times(count: int) -> str:
    """A number of occurrences in words."""
    return "once" if count == 1 else f"{count:,} times"
