"""Lists made elsewhere: by another library, a query, a person. Read from whatever they are in, and put into positions.

A list is measured as it stands. What holds a place without being able to be a hit is counted and told: an item that
stands in the list already, one that nobody knows, one that the user had in training. A user without a list counts, with
0.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf._pandas import pd
from ancf.data.arrays import object_array
from ancf.data.columns import KNOWN_HEADINGS, normalize_heading
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap, as_id_array
from ancf.data.interactions import Interactions
from ancf.data.raw_table import EncodedColumn, RawTable
from ancf.data.reading import read_table
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.evaluation.candidates import candidate_mask
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.evaluation.ranking import Lists
from ancf.scoring.requests import as_sequence, is_one, materialize, table_columns
from ancf.scoring.results import Recommendations
from ancf.scoring.unknown_ids import hint_for, refuse_other_table

RANK_HEADINGS = ("rank", "ranking", "position", "place")
"""Headings of a column that is 1 for the best item; the smallest comes first."""
SCORE_HEADINGS = ("score", "prediction", "predicted", "predicted_score", "relevance", "similarity", "weight", "rating")
"""Headings of a column that is largest for the best item."""

_HEADINGS = dict.fromkeys(("time", "name", "category", "basket"), False)


class MakesLists(Protocol):
    """A model of another library, or anything else that can be asked for a list."""

    def recommend(self, user: Any, N: int, /) -> Any:
        """Item ids, best first; or a pair ``(ids, scores)``."""
        ...


class _ArrowTable(Protocol):
    def __arrow_c_stream__(self, requested_schema: Any = None, /) -> Any: ...


GivenLists: TypeAlias = Union[
    Recommendations, Mapping[Any, Any], "pd.DataFrame", MakesLists, _ArrowTable, str, Path
]  # Union: a string among the types
"""Lists in every form that ``evaluate`` takes."""


class ListReport(NamedTuple):
    """What was found in lists made elsewhere, within the places that are measured."""

    n_without_list: int
    """Users measured that have no list: they count with 0."""
    n_short: int
    """Users whose list has fewer places than are measured; the rest of the places are empty."""
    n_unknown: int
    """Places with an item that is neither in training nor in the test table."""
    n_repeated: int
    """Places with an item that stands further up in the same list."""
    n_had: int
    """Places with an item that the user had in training, where such items cannot be hits."""
    n_tied: int
    """Users in whose list equal scores or ranks stand; such items are in the order of their ids."""
    n_outside: int
    """Places of items that are no candidates; what is behind them moves up."""

    def notes(self) -> list[str]:
        """One text for each thing found."""
        texts = (
            (self.n_without_list, "users have no list and count with 0"),
            (self.n_short, "lists are shorter than what is measured"),
            (self.n_unknown, "places hold items that are neither in training nor in the test table"),
            (self.n_repeated, "places hold an item that stands further up already"),
            (self.n_had, "places hold what the user had in training, which cannot be a hit"),
            (self.n_outside, "places hold items that are no candidates; what is behind them moves up"),
            (self.n_tied, "lists have equal scores, which are in the order of the item ids"),
        )
        return [f"{n:,} {text}" for n, text in texts if n]


class PlacedLists(NamedTuple):
    """Lists by position, a row for each user measured."""

    report: ListReport
    items: NDArray[np.int32]
    counts: NDArray[np.int32]

    def lists(self, start: int, end: int, n: int) -> Lists:
        """The first n places of some of the lists."""
        return Lists(np.ascontiguousarray(self.items[start:end, :n]), np.minimum(self.counts[start:end], n))


class _Entries(NamedTuple):
    """The entries of all lists: user after user, best first."""

    users: IdMap
    items: IdMap
    user_codes: NDArray[np.int32]
    item_codes: NDArray[np.int32]
    tied: NDArray[np.bool_]
    """Whether an entry has the same score as the one before it in its list."""


def place_lists(
    given: GivenLists, known: Known, truth: GroundTruth, n: int, *, candidates: ItemSets | None, new_only: bool
) -> PlacedLists:
    """The first n places of the lists of the users measured, of their candidates alone where there are such.

    Raises
    ------
    InvalidDataError
        If no user measured has a list; if an id, a rank or a score is missing, or a user has two lists; if the form is
        none that holds lists.
    """
    users = known.user_ids.values[truth.users]
    users = known.user_ids.values[truth.users]
    has_training = len(known.item_ids) > 0
    entries = _read_entries(given, users, max(known.n_items, 1) if candidates else min(n, max(known.n_items, 1)))
    refuse_other_table(entries.users, known.user_ids, "the users of the lists")
    names = known.item_ids if has_training else known.other_items
    if names is not None:
        refuse_other_table(entries.items, names, "the items of the lists")
    at = known.user_ids.positions(entries.users.values)
    row = np.searchsorted(truth.users, at)
    row = np.where((at >= 0) & (row < len(users)), row, 0)
    measured = (at >= 0) & (truth.users[row] == at)
    if not measured.any():
        hint = hint_for(entries.users.values.tolist(), IdMap._unchecked(users, known.user_ids.kind))
        raise InvalidDataError(
            f"evaluate: none of the users measured has a list ({hint.replace('the model', 'the test table')}). "
            "Give lists for the users of the test table."
        )
    taken = measured[entries.user_codes]
    position = np.where(taken, known.item_positions(entries.items.values)[entries.item_codes], -1)
    outside = np.zeros(len(taken), bool)
    if candidates is not None:
        outside = taken & ~candidate_mask(candidates, row[entries.user_codes], position, known.n_items)
        taken &= ~outside
    lengths = np.bincount(entries.user_codes[taken], minlength=len(entries.users))
    place = np.full(len(taken), n)
    place[taken] = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    taken &= place < n
    keys = entries.user_codes.astype(np.int64) * max(len(entries.items), 1) + entries.item_codes
    is_repeated = pd.Series(keys).duplicated().to_numpy()[taken]
    position, place, rows = position[taken], place[taken], row[entries.user_codes[taken]]
    counts = np.bincount(rows, minlength=len(users)).astype(np.int32)
    items = np.full((len(users), int(counts.max(initial=0))), -1, np.int32)
    items[rows, place] = np.where(is_repeated, -1, position)
    had = 0
    if new_only:
        had = int((candidate_mask(known.had.take(truth.users), rows, position, known.n_items) & ~is_repeated).sum())
    listed = np.bincount(row[measured], minlength=len(users)) > 0
    places = np.full(len(users), min(n, len(known.item_ids)) if has_training else n)
    if candidates is not None:
        places = np.minimum(np.diff(candidates.indptr), n)
    return PlacedLists(
        ListReport(
            n_without_list=int((~listed).sum()),
            n_short=int((counts < places)[listed].sum()),
            n_unknown=int(((position < 0) & ~is_repeated).sum()) if has_training else 0,
            n_repeated=int(is_repeated.sum()),
            n_had=had,
            n_tied=len(np.unique(rows[entries.tied[taken]])),
            n_outside=int(outside.sum()),
        ),
        items,
        counts,
    )


# ---- reading


def _read_entries(given: Any, users: NDArray[Any], n: int) -> _Entries:
    """The entries of lists in any form; an object that recommends is asked for those of ``users``."""
    if isinstance(given, Recommendations):
        return _of_recommendations(given)
    if isinstance(given, Interactions):
        raise InvalidDataError(
            "evaluate: Interactions are purchases, not lists. Give a model or lists first, then test."
        )
    if isinstance(given, (pd.DataFrame, str, Path)) or hasattr(given, "__arrow_c_stream__"):
        return _of_table(given)
    if isinstance(given, Mapping):
        roles = {role for key in given for role in ("user", "item") if normalize_heading(key) in KNOWN_HEADINGS[role]}
        return _of_table(given) if len(roles) == 2 else _of_mapping(given)
    if callable(getattr(given, "recommend", None)):
        return _of_recommender(given, users, n)
    raise InvalidParameterError(
        f"evaluate: model is {_short(given)}; give a fitted model of ancf, or lists: a table with the columns user_id, "
        "item_id and rank or score, a mapping from users to item ids, or an object with recommend(user, N)."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _of_recommendations(given: Recommendations) -> _Entries:
    columns = given.to_dict()
    user, item = list(columns)[:2]
    _refuse_two_lists(given.user_ids)
    return _in_order(columns[user], columns[item])


def _refuse_two_lists(users: NDArray[Any]) -> None:
    twice = pd.Series(users).duplicated().to_numpy()
    if twice.any():
        raise InvalidDataError(
            f"evaluate: user {_text.format_list(users[twice][:1])} has two lists. Give each user one list."
        )


def _of_table(given: Any) -> _Entries:
    """A table of entries, ordered by rank or by score."""
    table, by_rank = _read_order(given)
    for role in ("user", "item"):
        missing = np.flatnonzero(table.ids[role].codes < 0)
        if len(missing):
            raise InvalidDataError(
                f"{table.source}: {len(missing)} rows have no {role} id (row {missing[0] + table.row_base}). "
                "Leave such rows out."
            )
    assert table.weight is not None
    heading, values = table.columns["weight"], table.weight.values
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InvalidDataError(
            f"{table.source}: {len(bad)} rows have no number in the column {heading!r} "
            f"(row {bad[0] + table.row_base}). Give every row one, or leave such rows out."
        )
    users, user_codes = _ids(table.ids["user"])
    items, item_codes = _ids(table.ids["item"])
    worst = values if by_rank else -values
    order = np.lexsort((item_codes, worst, user_codes))
    user_codes, item_codes, worst = user_codes[order], item_codes[order], worst[order]
    tied = np.zeros(len(order), bool)
    tied[1:] = (user_codes[1:] == user_codes[:-1]) & (worst[1:] == worst[:-1])
    return _Entries(users, items, user_codes, item_codes, tied)


def _ids(column: EncodedColumn) -> tuple[IdMap, NDArray[np.int32]]:
    """The ids of a column in ascending order, and each row's place among them."""
    ids, codes = IdMap.factorize(column.values[column.codes])
    return ids, codes


def _read_order(given: Any) -> tuple[RawTable, bool]:
    """The table, and whether it is in the order of ranks; else in that of scores."""
    for names, by_rank in ((RANK_HEADINGS, True), (SCORE_HEADINGS, False)):
        for name in names:
            try:
                return read_table(given, {**_HEADINGS, "weight": name}), by_rank
            except InvalidParameterError as error:
                if "no such column" not in str(error):
                    raise
            except InvalidDataError as error:
                found, recognized, _ = str(error).partition(" Name ")
                if "no column is recognized" not in found or not recognized:
                    raise
                raise InvalidDataError(
                    f"{found} Lists have the columns user_id, item_id and rank or score: rename them."
                ) from None
    raise InvalidDataError(
        f"{given if isinstance(given, str | Path) else type(given).__name__}: the lists have no column that says in "
        "which order they are. Add a column rank (1 is the best) or score (the largest is the best)."
    )


def _of_mapping(given: Mapping[Any, Any]) -> _Entries:
    """User → item ids, best first; or user → item → score."""
    parts = [_items_of(answer, user) for user, answer in given.items()]
    return _of_parts(list(given), parts)


def _of_recommender(given: MakesLists, users: NDArray[Any], n: int) -> _Entries:
    """The answers of an object, one call for each user."""
    parts = []
    for user in users.tolist():
        try:
            parts.append(_items_of(given.recommend(user, n), user))
        except Exception as error:
            error.add_note(f"while {type(given).__name__}.recommend({user!r}, {n}) was asked for a list")
            raise
    return _of_parts(users.tolist(), parts)


def _of_parts(users: Sequence[Any], parts: list[tuple[list[Any], list[bool]]]) -> _Entries:
    lengths = [len(items) for items, _ in parts]
    items = [item for part, _ in parts for item in part]
    if not items:
        raise InvalidDataError("evaluate: all the lists are empty. Give lists with items.")
    who = object_array([user for user, length in zip(users, lengths, strict=True) for _ in range(length)])
    return _in_order(who, object_array(items), np.array([each for _, part in parts for each in part], bool))


def _in_order(users: Any, items: Any, tied: NDArray[np.bool_] | None = None) -> _Entries:
    """Entries that are in the order of their lists already."""
    user_ids, user_codes = IdMap.factorize(as_id_array(users), "the users of the lists")
    item_ids, item_codes = IdMap.factorize(as_id_array(items), "the items of the lists")
    order = np.argsort(user_codes, kind="stable")
    is_tied = np.zeros(len(order), bool) if tied is None else tied[order]
    return _Entries(user_ids, item_ids, user_codes[order], item_codes[order], is_tied)


def _items_of(answer: Any, user: Any) -> tuple[list[Any], list[bool]]:
    """The items of one list, best first, and which of them have the score of the one before."""
    if answer is None:
        return [], []
    if isinstance(answer, Recommendations):
        answer = answer.ids if answer.single else answer.to_dict()["item_id"]
    if isinstance(answer, Mapping):
        return _by_score(answer, user)
    if isinstance(answer, (set, frozenset)):
        raise InvalidDataError(f"evaluate: the list of user {user!r} is a set, which has no order. Give a list.")
    columns = table_columns(answer)
    if columns is not None and len(columns) > 1:
        named = [name for name in columns if normalize_heading(name) in KNOWN_HEADINGS["item"]]
        if len(named) != 1:
            raise InvalidDataError(
                f"evaluate: the list of user {user!r} has the columns {_text.format_list(list(columns))}; "
                "call that of the items item_id."
            )
        answer = columns[named[0]]
    if is_one(answer):
        raise InvalidDataError(f"evaluate: the list of user {user!r} is {_short(answer)}. Give item ids, best first.")
    if isinstance(answer, tuple) and len(answer) == 2 and not any(map(is_one, answer)):
        answer = answer[0]  # (ids, scores)
    listed: list[Any] = _plain(as_sequence(materialize(answer), "the lists"))
    if listed and all(isinstance(each, tuple) and len(each) == 2 for each in listed):
        listed = [item for item, _ in listed]  # [(id, score), ...]
    return listed, [False] * len(listed)


def _plain(values: Iterable[Any]) -> list[Any]:
    listed: list[Any] = values.tolist() if hasattr(values, "tolist") else list(values)
    return listed


def _by_score(scores: Mapping[Any, Any], user: Any) -> tuple[list[Any], list[bool]]:
    """Items by descending score, equal ones by their ids."""
    ids, codes = IdMap.factorize(list(scores), "the items of the lists")
    try:
        values = np.array(list(scores.values()), np.float64)
    except (TypeError, ValueError):
        values = np.full(len(scores), np.nan)
    if not np.isfinite(values).all():
        raise InvalidDataError(
            f"evaluate: the list of user {user!r} has a score that is no finite number. Give each item a number."
        )
    order = np.lexsort((codes, -values))
    ranked = values[order]
    return ids.values[codes[order]].tolist(), [False, *(ranked[1:] == ranked[:-1]).tolist()][: len(order)]
