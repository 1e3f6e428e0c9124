"""From a raw table to interactions: every row is used or reported, by policies that the caller chose.

The checks and their order are in ``row_checks.py``. Duplicates are summed and noted.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._native import canonical_events
from ancf._pandas import pd
from ancf.data.arrays import positions_among
from ancf.data.event_types import account
from ancf.data.events import canonical_flags
from ancf.data.id_values import sort_order
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.raw_table import EncodedColumn, RawTable
from ancf.data.rejections import Rejections
from ancf.data.report import Report
from ancf.data.restrictions import ItemPatterns, core_rounds, count_ids
from ancf.data.row_checks import (
    Policies,
    RowFilter,
    Rows,
    bad_rows_error,
    finish_report,
    leave_out_bad,
    leave_out_fallen,
    leave_out_low_weights,
    leave_out_malformed,
    leave_out_untyped,
    leave_out_zeros,
    net_returns,
    no_rows_error,
    note_interest,
    note_ratings,
    note_rejections,
    refuse_no_times,
    rejecting_rows,
    resolve_anonymous,
    row_numbers,
    weigh_types,
)
from ancf.data.time_range import note_strays


def clean(table: RawTable, policies: Policies, num_threads: int | None = None) -> Interactions:
    """Interactions from the rows that can be used; the account is in their ``report``.

    Raises
    ------
    InvalidDataError
        If rows are malformed and ``on_bad_rows="raise"``, if anything at all had to be decided and ``strict``, or if
        no row is left.
    """
    row_filter = RowFilter(table)
    report = row_filter.report
    leave_out_malformed(row_filter, table, policies)
    item = table.ids["item"]
    row_filter.leave_out("no_item", "have no item id", item.codes < 0)
    _leave_out_excluded(row_filter, item, policies)
    user = resolve_anonymous(row_filter, table, policies)
    events = weigh_types(table, policies)
    rejecting = rejecting_rows(row_filter, table, (user.codes, item.codes), events, policies)
    leave_out_untyped(row_filter, table, events)
    _leave_out_unparsed(row_filter, table, policies)
    weight = leave_out_zeros(row_filter, table, events, policies)
    times = None if table.time is None else table.time.seconds
    had = None if events is None else events.had(table.ids["event"].codes)
    rows = Rows(None, user.codes, item.codes, weight, times, had)
    if not row_filter.remaining.all():
        rows = rows.keep(np.flatnonzero(row_filter.remaining))
    if policies.returns == "net" and len(rows.weights) and rows.weights.min() < 0:
        rows, _ = net_returns(report, rows, len(item.values))
    rows = leave_out_low_weights(report, rows, table, policies)
    rows = _leave_out_rare(report, rows, len(user.values), len(item.values), policies, num_threads)

    report.count_used(rows.numbers)
    report.ignored, report.columns = tuple(table.ignored), table.columns
    report.notes.extend(table.skipped)
    if events is not None:
        report.note("event_types", account(events))
    for name, text, noted in table.notes:
        report.note(name, text, noted)
    if not len(rows.users):
        raise no_rows_error(report, policies)

    whole = rows.numbers is None
    user_ids, users = _sort_ids(user, rows.users, whole=whole)
    item_ids, items = _sort_ids(item, rows.items, whole=whole)
    names = _most_common_texts(table.ids.get("name"), rows.numbers, items, len(item_ids))
    categories = _most_common_texts(table.ids.get("category"), rows.numbers, items, len(item_ids))
    weights, times = np.ascontiguousarray(rows.weights, np.float64), rows.times
    columns = (users, items, weights, times, len(user_ids), len(item_ids), num_threads)
    event_users, event_items, sums, event_times, repeated = canonical_events(*columns)
    event = "user, item and time" if times is not None else "user and item"
    repeated = repeated if rows.numbers is None else rows.numbers[repeated]
    report.note("duplicates", f"repeat an earlier row's {event}; quantities summed", repeated)
    if times is not None:
        told = [
            noted
            for name, _, noted in table.notes
            if name in ("far_times", "early_numbers") and isinstance(noted, np.ndarray)
        ]
        told_rows = np.concatenate([np.empty(0, np.int64), *(row_numbers(noted) for noted in told)])
        note_strays(report, times, rows.numbers, told_rows)
    note_ratings(report, table, weights, policies)
    finish_report(report, policies, (len(user_ids), len(item_ids), len(event_users)), times)
    data = Interactions._from_canonical(
        user_ids,
        item_ids,
        event_users,
        event_items,
        sums,
        event_times,
        had=canonical_flags(rows.had, *columns),
        item_names=names,
        item_categories=categories,
        report=report,
        normalize=policies.normalize,
    )
    data.event_weights = None if events is None else dict(events.weights)
    note_interest(data)
    if rejecting is not None:
        if times is None and events is not None and events.has_purchases:
            parts = (rows.users, rows.items, rows.numbered())
            rejecting = rejecting.keep(~rejecting.cleared_by(parts, rows.weights, rows.had, len(item.values)))
        whose, users = _sort_ids(user, rejecting.users, whole=False)
        what, items = _sort_ids(item, rejecting.items, whole=False)
        data.rejections = Rejections.of(whose, what, users, items, rejecting.times, rejecting.dislikes)
        note_rejections(data)
    return data


def _leave_out_excluded(row_filter: RowFilter, item: EncodedColumn, policies: Policies) -> None:
    patterns = ItemPatterns(policies.exclude_items)
    if not patterns:
        return
    excluded, idle = patterns.matching(item.values)
    which = np.append(excluded, False)[item.codes] & row_filter.remaining
    if which.any():
        named = count_ids(item.codes[which], item.values)
        row_filter.leave_out("excluded_item", f"are of items that are excluded: {named}", which)
    if idle:
        shown = ", ".join(f'"{each}"' for each in idle)
        row_filter.report.note("exclude_items", f"exclude_items: no item id is or matches {shown}")


def _leave_out_rare(
    report: Report, rows: Rows, n_users: int, n_items: int, policies: Policies, num_threads: int | None
) -> Rows:
    """Without users and items of too few events, where repeated rows are one event."""
    min_user, min_item = policies.min_user_events, policies.min_item_events
    if max(min_user, min_item) == 1 or not len(rows.users):
        return rows
    users, items, *_ = canonical_events(
        np.ascontiguousarray(rows.users),
        np.ascontiguousarray(rows.items),
        np.ones(len(rows.users)),
        rows.times,
        n_users,
        n_items,
        num_threads,
    )
    rounds = core_rounds(users, items, n_users, n_items, min_user, min_item)
    kept = leave_out_fallen(report, rows, rounds, policies)
    return rows if kept.all() else rows.keep(kept)


def _leave_out_unparsed(row_filter: RowFilter, table: RawTable, policies: Policies) -> None:
    refuse_no_times(table)
    found = leave_out_bad(row_filter, table)
    if found and policies.on_bad_rows == "raise":
        raise bad_rows_error(row_filter.report, found)


def _sort_ids(column: EncodedColumn, codes: NDArray[np.int32], whole: bool) -> tuple[IdMap, NDArray[np.int32]]:
    """The ids that occur, ascending, and the rows' positions among them. ``whole``: the codes are all of the column."""
    values = column.values
    if not (whole and column.ascending):
        used = np.zeros(len(values), bool)
        used[codes] = True
        if not used.all():
            codes = positions_among(used)[codes]
            values = values[used]
    if not column.ascending:
        order, rank = sort_order(values)
        codes, values = rank[codes], values[order]
    kind = "int" if values.dtype.kind == "i" else IdMap(values[:1]).kind
    return IdMap._unchecked(values, kind), np.ascontiguousarray(codes, np.int32)


def _most_common_texts(
    texts: EncodedColumn | None, rows: NDArray[np.int64] | None, items: NDArray[np.int32], n_items: int
) -> NDArray[Any] | None:
    """The most frequent text of each item (of equally frequent ones the first in the table), None where there is none.

    Stock lists carry remarks in the name column ("damaged", "?"); the most common text is the name.
    """
    if texts is None:
        return None
    codes = texts.codes if rows is None else texts.codes[rows]
    best = np.full(n_items, -1, np.int32)
    named = codes >= 0
    if not named.all():
        codes, items = codes[named], items[named]
    best[items] = codes
    several = np.zeros(n_items, bool)
    several[items[codes != best[items]]] = True
    if several.any():
        counted = several[items]
        key = items[counted].astype(np.int64) * len(texts.values) + codes[counted]
        group, distinct = pd.factorize(key)
        counts = np.bincount(group, minlength=len(distinct))
        # Written last, the most frequent one stays.
        ranked = distinct[np.lexsort((-np.arange(len(distinct)), counts))]
        best[ranked // len(texts.values)] = ranked % len(texts.values)
    result = np.full(n_items, None, object)
    known = best >= 0
    result[known] = texts.values[best[known]]
    return result
