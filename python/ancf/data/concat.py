"""``ancf.concat``: several tables of interactions as one."""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._text import format_value
from ancf.data.event_types import had_among
from ancf.data.events import ItemTexts
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.rejections import join_rejections
from ancf.data.report import Reason, Report
from ancf.errors import InvalidDataError
from ancf.params import checks_call


@checks_call
def concat(tables: Iterable[Interactions]) -> Interactions:
    """Several tables as one: the months of a year, the shops of a chain.

    Parameters
    ----------
    tables : several Interactions
        With ids of the same kind on each side, times in all or in none, and the same ``normalize``. Tables without
        events have no say in kinds and times.

    Returns
    -------
    Interactions
        Over the ids of all, ascending. Events that agree in user, item and time become one with their weights summed,
        as in one table. An item has the first name, category and row of attributes that a table gives it. ``report``
        adds up the rows of all reports; its reasons and notes name the table that they come from. ``leakage`` is that
        of all, ``mark`` that of the last table that has one.

    Raises
    ------
    InvalidDataError
        If there is no table, or tables differ in kind; names them by their number, from 0.

    Examples
    --------
    >>> import ancf
    >>> may = ancf.Interactions.from_ids(user=["ann", "bob"], item=["tea", "cup"])
    >>> june = ancf.Interactions.from_ids(user=["ann", "cleo"], item=["tea", "pot"])
    >>> both = ancf.concat([may, june])
    >>> both
    Interactions(3 users × 3 items, 3 events)
    >>> both.weights.tolist()
    [2.0, 1.0, 1.0]
    """
    parts = _check_tables(tables)
    speaking = [(at, part) for at, part in enumerate(parts) if len(part)] or list(enumerate(parts))
    for what, remedy, values in (
        ("user ids", "Read all with ids of one kind.", [part.user_ids.kind for _, part in speaking]),
        ("item ids", "Read all with ids of one kind.", [part.item_ids.kind for _, part in speaking]),
        (
            "times",
            "Read all with a column of times, or with time=False.",
            ["no" if part.times is None else "some" for _, part in speaking],
        ),
        ("normalize", "Read all with the same normalize=.", [part.normalize for _, part in speaking]),
    ):
        other = next((at for at, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise InvalidDataError(
                f"concat: table {speaking[0][0]} has {what} of kind {values[0]!r} and table {speaking[other][0]} of "
                f"kind {values[other]!r}. {remedy}"
            )
    tables_used = [part for _, part in speaking]
    user_ids, users = _unite([(part.user_ids, part.users) for part in tables_used])
    item_ids, items = _unite([(part.item_ids, part.items) for part in tables_used])
    timed, event_weights = tables_used[0].times is not None, _event_weights(parts)
    joined = Interactions(
        user_ids,
        item_ids,
        np.concatenate(users),
        np.concatenate(items),
        np.concatenate([part.weights for part in tables_used]).astype(np.float64),
        np.concatenate([part.times for part in tables_used if part.times is not None]) if timed else None,
        had=_had(tables_used, event_weights),
        item_names=_texts(item_ids, [(part.item_ids, part.item_names) for part in tables_used]),
        item_categories=_texts(item_ids, [(part.item_ids, part.item_categories) for part in tables_used]),
        normalize=tables_used[0].normalize,
    )
    joined.item_features = _features(part.item_features for part in parts)
    joined.user_features = _features(part.user_features for part in parts)
    joined.event_weights = event_weights
    joined.rejections = join_rejections(parts, event_weights)
    joined.report = _report(parts, joined)
    joined.leakage = tuple(dict.fromkeys(leak for part in parts for leak in part.leakage))
    joined.mark = next((part.mark for part in reversed(parts) if part.mark is not None), None)
    return joined


def _event_weights(parts: Sequence[Interactions]) -> dict[str, float] | None:
    """What events of each type weigh in any of the tables, which have to agree."""
    united: dict[str, float] = {}
    for at, part in enumerate(parts):
        for name, weight in (part.event_weights or {}).items():
            if united.setdefault(name, weight) != weight:
                raise InvalidDataError(
                    f"concat: an event of the type {name!r} weighs {weight:g} in table {at} and {united[name]:g} in an "
                    "earlier one. Read all with the same event_weights=."
                )
    return united or None


def _had(parts: Sequence[Interactions], united: dict[str, float] | None) -> NDArray[np.bool_] | None:
    flags = [had_among(part.had, part.weights, part.event_weights, united) for part in parts]
    if all(each is None for each in flags):
        return None
    return np.concatenate(
        [np.ones(len(part), bool) if each is None else each for part, each in zip(parts, flags, strict=True)]
    )


def _features(tables: Iterable[Features | None]) -> Features | None:
    """The rows of all; where an id stands in several, that of the first."""
    known = [each for each in tables if each is not None]
    return reduce(lambda later, earlier: later.updated(earlier), reversed(known)) if known else None


def _check_tables(tables: Any) -> list[Interactions]:
    if isinstance(tables, (Interactions, str, bytes)) or not isinstance(tables, Iterable) or isinstance(tables, type):
        raise InvalidDataError(
            f"concat: tables is {format_value(tables)}; give several, as a list: ancf.concat([a, b])."
        )
    try:
        parts = list(tables)
    except TypeError as error:
        raise InvalidDataError(
            f"concat: tables is {format_value(tables)} ({error}); give a list: ancf.concat([a, b])."
        ) from None
    if not parts:
        raise InvalidDataError(
            f"concat: tables is {format_value(tables)}, and there is no table in it. Give one or more "
            "ancf.Interactions."
        )
    for at, part in enumerate(parts):
        if not isinstance(part, Interactions):
            raise InvalidDataError(
                f"concat: tables[{at}] is {format_value(part)}, not ancf.Interactions. "
                "Use ancf.read_interactions(table) first."
            )
    return parts


def _unite(sides: Sequence[tuple[IdMap, NDArray[np.int32]]]) -> tuple[IdMap, list[NDArray[np.int32]]]:
    """The ids of all, ascending, and the positions of each table's events among them."""
    united, codes = IdMap.factorize(np.concatenate([ids.values for ids, _ in sides]))
    ends = np.cumsum([len(ids) for ids, _ in sides])
    places = np.split(codes, ends[:-1])
    return united, [place[positions] for place, (_, positions) in zip(places, sides, strict=True)]


def _texts(united: IdMap, sides: Sequence[tuple[IdMap, ItemTexts | None]]) -> ItemTexts | None:
    """The first text that a table has for each item; None where no table has any."""
    if all(texts is None for _, texts in sides):
        return None
    result = np.full(len(united), None, object)
    for ids, texts in reversed(sides):
        if texts is not None:
            held = np.array([text is not None for text in texts], bool)
            result[united.positions(ids.values)[held]] = texts[held]
    return result


def _report(parts: Sequence[Interactions], joined: Interactions) -> Report:
    """The reports of all as one; rows keep the numbers that they have in their own table."""
    reports = [part.report for part in parts]
    columns = reports[0].columns

    def named(kind: str) -> list[Reason]:
        return [
            Reason(each.name, each.rows, f"{each.text}, in table {at} ({report.source})", each.first_rows, each.values)
            for at, report in enumerate(reports)
            for each in getattr(report, kind)
        ]

    report = Report(
        source=" + ".join(dict.fromkeys(report.source for report in reports)),
        columns=dict(columns) if all(each.columns == columns for each in reports) else {},
        rows_read=sum(report.rows_read for report in reports),
        rows_used=sum(report.rows_used for report in reports),
        reasons=named("reasons"),
        notes=named("notes"),
        summary={"users": joined.n_users, "items": joined.n_items, "events": len(joined)},
    )
    merged = sum(len(part) for part in parts) - len(joined)
    if merged:
        report.note("joined_events", f"{merged:,} events stand in more than one table; weights are summed")
    return report
