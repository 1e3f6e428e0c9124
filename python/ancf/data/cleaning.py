"""From a raw table to interactions: every row is used or reported, by policies that the caller chose.

The order of the checks is fixed, and a row is reported under the first that applies: blank, no row at all (a comment, a
repeated header), malformed, no item, excluded item, anonymous, event type without a weight, unreadable quantity,
unreadable time, zero quantity, return, cancelled by a return, low weight, user or item with too few events. Duplicates
are summed and noted.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancf._native import canonical_events
from ancf.checks import check_flag, check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX, object_array, positions_among
from ancf.data.columns import RATING_HEADINGS, normalize_heading
from ancf.data.event_types import WeighedEvents, account, describe_types, had_types, no_types_error, weigh_events
from ancf.data.ids import IdMap, sort_order
from ancf.data.interactions import Interactions, canonical_flags
from ancf.data.normalize import NORMALIZERS
from ancf.data.number_times import unit_by_size
from ancf.data.raw_table import EncodedColumn, RawTable, TimeColumn, Unparsed
from ancf.data.report import N_FIRST_ROWS, Report
from ancf.data.restrictions import CoreRounds, ItemPatterns, core_rounds, count_ids
from ancf.data.returns import NETTED, had_after_returns, remaining_quantities
from ancf.data.text_times import is_clock
from ancf.data.time_range import note_strays
from ancf.data.timestamps import OUT_OF_RANGE, no_date
from ancf.errors import InvalidDataError, InvalidParameterError

Anonymous = Literal["exclude", "group", "baskets"]
Returns = Literal["net", "drop", "keep"]
OnBadRows = Literal["raise", "drop"]

ANONYMOUS_TEXT = "anonymous"
"""The id of the one class of anonymous customers where ids are text; -1 where they are numbers."""

FLOAT32_ZERO = 2.0**-150
"""The largest weight that a float32 rounds to zero."""

CHOSEN_REASONS = frozenset({"excluded_item", "low_weight", "few_user_events", "few_item_events"})
"""Reasons that say nothing against a table: its caller left these rows out by an option."""


@dataclass(frozen=True)
class Policies:
    """What the caller of ``read_interactions`` chose to do with rows that are not clean."""

    anonymous: Anonymous = "exclude"
    returns: Returns = "net"
    on_bad_rows: OnBadRows = "raise"
    strict: bool = False
    normalize: str = "none"
    exclude_items: Any = ()
    min_weight: float | None = None
    min_user_events: int = 1
    min_item_events: int = 1
    event_weights: dict[str, float] | None = None
    event_named: bool = False
    """Whether the caller named the column of event types."""

    def check(self) -> None:
        for name, value, allowed in (
            ("anonymous", self.anonymous, ("exclude", "group", "baskets")),
            ("returns", self.returns, ("net", "drop", "keep")),
            ("on_bad_rows", self.on_bad_rows, ("raise", "drop")),
            ("normalize", self.normalize, NORMALIZERS),
        ):
            if not isinstance(value, str) or value not in allowed:
                raise InvalidParameterError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}.")
        check_flag("strict", self.strict)
        ItemPatterns(self.exclude_items)
        if self.min_weight is not None:
            check_number("min_weight", self.min_weight, -FLOAT32_MAX, math.inf, words="None or ")
        check_integer("min_user_events", self.min_user_events, 1, 2**31 - 1)
        check_integer("min_item_events", self.min_item_events, 1, 2**31 - 1)


class _Rows(NamedTuple):
    """The rows that remain, by the codes of the raw table."""

    numbers: NDArray[np.int64] | None
    """Of the raw table; None where all rows remain: listing and copying them would cost half of the sorting."""
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    weights: NDArray[np.float64]
    times: NDArray[np.int64] | None
    had: NDArray[np.bool_] | None
    """Which say that somebody has the item; None where all do."""

    def numbered(self) -> NDArray[np.int64]:
        return np.arange(len(self.users)) if self.numbers is None else self.numbers

    def keep(self, kept: NDArray[Any]) -> "_Rows":
        """Those of a mask or of indices."""
        times = None if self.times is None else self.times[kept]
        had = None if self.had is None else self.had[kept]
        return _Rows(self.numbered()[kept], self.users[kept], self.items[kept], self.weights[kept], times, had)


class _RowFilter:
    """Which rows remain, and the report of those that were left out."""

    def __init__(self, table: RawTable) -> None:
        self.report = Report(
            source=table.source,
            columns=table.columns,
            ignored=tuple(table.ignored),
            rows_read=table.n_rows,
            row_base=table.row_base,
            files=table.files,
        )
        self.first_row = table.first_row
        self.remaining = np.ones(table.n_rows, bool)

    def leave_out(
        self, name: str, text: str, which: NDArray[Any], unparsed: Unparsed | None = None
    ) -> NDArray[np.int64]:
        """Leave out rows (a mask or indices); returns those that were not left out before."""
        if not which.any() and which.dtype == bool:
            return np.empty(0, np.int64)
        rows = np.flatnonzero(which & self.remaining) if which.dtype == bool else which[self.remaining[which]]
        values = () if unparsed is None else unparsed.texts_of(rows[:N_FIRST_ROWS])
        self.report.leave_out(name, text, rows + self.first_row, values)
        self.remaining[rows] = False
        return rows


def clean(table: RawTable, policies: Policies, num_threads: int | None = None) -> Interactions:
    """Interactions from the rows that can be used; the account is in their ``report``.

    Raises
    ------
    InvalidDataError
        If rows are malformed and ``on_bad_rows="raise"``, if anything at all had to be decided and ``strict``, or if
        no row is left.
    """
    row_filter = _RowFilter(table)
    report = row_filter.report
    _leave_out_malformed(row_filter, table, policies)
    item = table.ids["item"]
    row_filter.leave_out("no_item", "have no item id", item.codes < 0)
    _leave_out_excluded(row_filter, item, policies)
    user = _resolve_anonymous(row_filter, table, policies)
    events = _weigh_events(table, policies)
    _leave_out_untyped(row_filter, table, events)
    _leave_out_unparsed(row_filter, table, policies)
    weight = _leave_out_zeros(row_filter, table, events, policies)
    times = None if table.time is None else table.time.seconds
    had = None if events is None else events.had(table.ids["event"].codes)
    rows = _Rows(None, user.codes, item.codes, weight, times, had)
    if not row_filter.remaining.all():
        rows = rows.keep(np.flatnonzero(row_filter.remaining))
    if policies.returns == "net" and len(rows.weights) and rows.weights.min() < 0:
        rows, _ = _net_returns(row_filter, rows, len(item.values))
    rows = _leave_out_low_weights(row_filter, rows, table, policies)
    rows = _leave_out_rare(row_filter, rows, len(user.values), len(item.values), policies, num_threads)

    report.rows_used = len(rows.users)
    report.count_used(rows.numbers)
    report.ignored, report.columns = tuple(table.ignored), table.columns
    report.notes.extend(table.skipped)
    if events is not None:
        report.note("event_types", account(events))
    for name, text, noted in table.notes:
        report.note(name, text, noted)
    if not len(rows.users):
        raise _no_rows_error(report, policies)

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
        told_rows = np.concatenate([np.empty(0, np.int64), *(_row_numbers(noted) for noted in told)])
        note_strays(report, times, rows.numbers, told_rows)
    _note_ratings(report, table, weights, policies)
    _finish_report(report, policies, (len(user_ids), len(item_ids), len(event_users)), times)
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
    return data


def note_interest(data: Interactions) -> None:
    """Note how many pairs were only looked at, and stay recommendable."""
    is_had = data.pair_had()
    n = 0 if is_had is None else len(is_had) - int(np.count_nonzero(is_had))
    if n:
        weights = data.event_weights or {}
        had = had_types(weights)
        types = " or ".join(name for name in weights if normalize_heading(name) in had)
        pairs = f"{n:,} pair{'' if n == 1 else 's'} of user and item"
        data.report.note(
            "interest", f"{pairs} without an event of type {types}: interest alone, which stays recommendable"
        )


def _leave_out_untyped(row_filter: _RowFilter, table: RawTable, events: WeighedEvents | None) -> None:
    if events is None:
        return
    codes = table.ids["event"].codes
    unknown = f"are of event types without a weight ({describe_types(events.unknown)})"
    row_filter.leave_out("unweighted_event", unknown, ~events.known(codes))
    row_filter.leave_out("weightless_event", "are of event types that weigh 0", events.factors(codes) == 0)


def _leave_out_zeros(
    row_filter: _RowFilter, table: RawTable, events: WeighedEvents | None, policies: Policies
) -> NDArray[np.float64]:
    """The weight of each row, that of its event type included."""
    weight = np.ones(table.n_rows) if table.weight is None else table.weight.values
    if events is not None:
        weight = weight * events.factors(table.ids["event"].codes)
        too_large = (np.abs(weight) > FLOAT32_MAX) & row_filter.remaining
        if too_large.any():
            at = int(np.flatnonzero(too_large)[0])
            raise InvalidDataError(
                f"{table.source}: row {at + table.first_row + table.row_base} weighs {weight[at]:g}, more than a "
                "float32 holds. Give smaller event_weights."
            )
    row_filter.leave_out("zero_quantity", "have a quantity of zero", np.abs(weight) <= FLOAT32_ZERO)
    if policies.returns == "drop":
        row_filter.leave_out("returns", "are returns (negative quantity), dropped", weight < 0)
    return weight


def _finish_report(
    report: Report, policies: Policies, sizes: tuple[int, int, int], times: NDArray[np.int64] | None
) -> None:
    """The summary; ``times`` may be the first and the last alone.

    Raises
    ------
    InvalidDataError
        If anything had to be decided, and the caller is strict.
    """
    decisions = "; ".join(str(each) for each in (*report.reasons, *report.notes) if each.name not in CHOSEN_REASONS)
    if policies.strict and decisions:
        raise InvalidDataError(f"{report.source}: strict=True, and not every row is clean: {decisions}.")
    report.summary = dict(zip(("users", "items", "events"), sizes, strict=True))
    if times is not None:
        first, last = pd.to_datetime([int(times.min()), int(times.max())], unit="s")
        report.summary["from"], report.summary["to"] = str(first), str(last)


def _weigh_events(table: RawTable, policies: Policies) -> WeighedEvents | None:
    """What the types of events weigh; None where there is no column of types.

    A column that is recognized by its heading alone, and whose types mean nothing by themselves, is none.
    """
    column, given = table.ids.get("event"), policies.event_weights
    if column is None:
        if given is not None:
            raise InvalidParameterError(
                f"event_weights={given!r}: {table.source} has no column that is recognized as the event type. Name it, "
                "for example event='kind', or leave event_weights out."
            )
        return None
    heading = table.columns["event"]
    events = weigh_events(column, given)
    if not events.has_any():
        if given is not None or policies.event_named:
            raise no_types_error(table.source, heading, events, given is not None)
        types = describe_types(events.unknown or events.rows)
        text = f"the column {heading!r} is not taken for event types ({types}); event_weights= gives each a weight"
        table.notes.append(("no_event_types", text, None))
        table.columns = {role: name for role, name in table.columns.items() if role != "event"}
        table.ignored = [*table.ignored, heading]
        return None
    if given is not None:
        found = {normalize_heading(name) for name in events.weights}
        idle = [name for name in given if normalize_heading(name) not in found]
        if idle:
            shown = ", ".join(map(repr, idle))
            table.notes.append(("event_weights", f"event_weights: no row is of the type {shown}", None))
    return events


def _row_numbers(which: NDArray[Any]) -> NDArray[np.int64]:
    """The rows of a mask, or of numbers, as numbers from 0."""
    return np.flatnonzero(which) if which.dtype == bool else which.astype(np.int64)


def _leave_out_malformed(row_filter: _RowFilter, table: RawTable, policies: Policies) -> None:
    row_filter.leave_out("blank", "are blank lines", table.blank_rows)
    bad = []
    for each in table.left_out:
        unparsed = Unparsed(each.rows, each.values)
        if len(row_filter.leave_out(each.name, each.text, each.rows, unparsed)) and each.is_bad:
            bad.append(each.name)
    if bad and policies.on_bad_rows == "raise":
        raise _bad_rows_error(row_filter.report, bad)
    rows = row_filter.leave_out("too_many_fields", "have more fields than the header", table.long_rows)
    if len(rows) and policies.on_bad_rows == "raise":
        raise _bad_rows_error(row_filter.report, ["too_many_fields"])


def _leave_out_excluded(row_filter: _RowFilter, item: EncodedColumn, policies: Policies) -> None:
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


def _leave_out_low_weights(row_filter: _RowFilter, rows: _Rows, table: RawTable, policies: Policies) -> _Rows:
    if policies.min_weight is None:
        return rows
    if table.weight is None:
        raise InvalidParameterError(
            f"min_weight={policies.min_weight!r}: {table.source} has no column that is recognized as the weight. Name "
            "it, for example weight='stars', or leave min_weight out."
        )
    low = rows.weights < policies.min_weight
    if not low.any():
        return rows
    text = f"have a weight below {policies.min_weight:g} (min_weight)"
    row_filter.leave_out("low_weight", text, rows.numbered()[low])
    return rows.keep(~low)


def _leave_out_rare(
    row_filter: _RowFilter, rows: _Rows, n_users: int, n_items: int, policies: Policies, num_threads: int | None
) -> _Rows:
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
    kept = _leave_out_fallen(row_filter, rows, rounds, policies)
    return rows if kept.all() else rows.keep(kept)


def _leave_out_fallen(row_filter: _RowFilter, rows: _Rows, rounds: CoreRounds, policies: Policies) -> NDArray[np.bool_]:
    """Leave out the rows of users and items that fell out of the core; which rows remain."""
    by_user, by_item = rounds.users[rows.users], rounds.items[rows.items]
    numbers, last = rows.numbered(), np.iinfo(np.int32).max
    for name, side, limit, rare in (
        ("few_user_events", "user", policies.min_user_events, (by_user < last) & (by_user < by_item)),
        ("few_item_events", "item", policies.min_item_events, (by_item < last) & (by_item < by_user)),
    ):
        text = f"belong to {side}s with fewer than {limit} events (min_{side}_events)"
        row_filter.leave_out(name, text, numbers[rare])
    kept: NDArray[np.bool_] = (by_user == last) & (by_item == last)
    return kept


def _note_ratings(report: Report, table: RawTable, weights: NDArray[np.float64], policies: Policies) -> None:
    """Note that a weight is a rating, where nobody said what is to become of low ones."""
    heading = table.columns.get("weight", "")
    if policies.min_weight is not None or not {normalize_heading(each) for each in (heading, *heading.split())} & (
        RATING_HEADINGS
    ):
        return
    low, high = float(weights.min()), float(weights.max())
    if low < high:
        report.note(
            "ratings",
            f"the weight {heading!r} is a rating, from {low:g} to {high:g}, and a low one counts as a purchase, too; "
            f"min_weight={0.8 * high:g} leaves out lower ones, weight=False counts each row once",
        )


def _leave_out_unparsed(row_filter: _RowFilter, table: RawTable, policies: Policies) -> None:
    _refuse_no_times(table)
    found = _leave_out_bad(row_filter, table)
    if found and policies.on_bad_rows == "raise":
        raise _bad_rows_error(row_filter.report, found)


def _refuse_no_times(table: RawTable) -> None:
    if table.time is not None and 0 < len(table.time.unparsed.rows) == table.n_rows:
        raise _no_times_error(table, table.time)


def _leave_out_bad(row_filter: _RowFilter, table: RawTable) -> list[str]:
    """Leave out the rows of which a number or a date could not be read; the names of the reasons."""
    found = []
    for name, text, column in (
        ("bad_quantity", "have a quantity that is not a finite number", table.weight),
        ("bad_time", "have a date that cannot be read", table.time),
    ):
        unparsed = None if column is None else column.unparsed
        if unparsed is not None and len(row_filter.leave_out(name, text, unparsed.rows, unparsed)):
            found.append(name)
    return found


def _no_times_error(table: RawTable, time: TimeColumn) -> InvalidDataError:
    texts = time.unparsed.texts
    at, text = next(((at, text) for at, text in enumerate(texts) if text.strip()), (0, texts[0]))
    given = ", ".join(f"{name}={value!r}" for name, value in time.options.given.items())
    why, remedy = no_date(text), "Name another with time="
    if is_clock(text.strip()):
        remedy = 'Name the column of its date, too, as in time=["date", "time"]'
    elif given:
        why, remedy = f"no date with {given}", f"Leave {next(iter(time.options.given))}= out"
    elif why == OUT_OF_RANGE:
        remedy = f"Say what it counts, as by time_unit={unit_by_size(float(text))!r}"
    return InvalidDataError(
        f"{table.source}: no value of the time column {table.columns['time']!r} is a date "
        f'("{text}" in row {at + table.row_base} is {why}). {remedy}, or read without: time=False.'
    )


def _bad_rows_error(report: Report, names: list[str]) -> InvalidDataError:
    reasons = "; ".join(str(reason) for reason in report.reasons if reason.name in names)
    return InvalidDataError(f'{report.source}: {reasons}. Fix them, or read with on_bad_rows="drop" to leave them out.')


def _resolve_anonymous(row_filter: _RowFilter, table: RawTable, policies: Policies) -> EncodedColumn:
    """The users, after the policy for rows without one."""
    user = table.ids["user"]
    anonymous = user.codes < 0
    if not anonymous.any():
        return user
    anonymous &= row_filter.remaining
    rows = np.flatnonzero(anonymous)
    if not len(rows):
        return user
    if policies.anonymous == "exclude":
        row_filter.leave_out("anonymous", "have no user id (anonymous)", rows)
        return user
    if policies.anonymous == "group":
        are_texts = user.values.dtype == object
        row_filter.report.note("anonymous", "have no user id and make one class of their own", rows + table.first_row)
        group_id: Any = ANONYMOUS_TEXT if are_texts else -1
        while are_texts and group_id in set(user.values.tolist()):
            group_id = f"_{group_id}"
        codes = np.where(anonymous, len(user.values), user.codes).astype(np.int32)
        return EncodedColumn(codes, np.append(user.values, np.array([group_id], user.values.dtype)))
    basket = table.ids.get("basket")
    if basket is None:
        raise InvalidParameterError(
            f'anonymous="baskets": {table.source} has no column that is recognized as the basket. '
            "Name it, for example basket='InvoiceNo'."
        )
    row_filter.leave_out("anonymous", "have neither user id nor basket", anonymous & (basket.codes < 0))
    anonymous &= basket.codes >= 0
    visiting = np.flatnonzero(anonymous) + table.first_row
    row_filter.report.note("anonymous", "have no user id; each basket is a visitor", visiting)
    if user.values.dtype != object and len(user.values):
        row_filter.report.note("ids_as_text", "user ids are taken as text, as those of the baskets are")
    known = [value if isinstance(value, str) else str(value) for value in user.values.tolist()]
    visitors = [f"basket:{value}" for value in basket.values.tolist()]
    codes = np.where(anonymous, basket.codes + len(known), user.codes).astype(np.int32)
    return EncodedColumn(codes, object_array(known + visitors))


def _net_returns(row_filter: _RowFilter, rows: _Rows, n_items: int) -> tuple[_Rows, NDArray[np.bool_]]:
    """The rows that have any quantity left after each return took back what its customer had bought of the item before,
    latest purchase first, and a mask of them.

    Only pairs with a return are touched (``returns.py``). Without times,
    returns come after all purchases of the pair.
    """
    numbers, users, items, weights, times, had = rows.numbered(), *rows[1:]
    returned = weights < 0
    by_user, by_item = np.zeros(int(users.max()) + 1, bool), np.zeros(n_items, bool)
    by_user[users[returned]] = True
    by_item[items[returned]] = True
    involved = np.flatnonzero(by_user[users] & by_item[items])
    pair = users[involved].astype(np.int64) * n_items + items[involved]
    involved = involved[np.isin(pair, np.unique(users[returned].astype(np.int64) * n_items + items[returned]))]
    pair = users[involved].astype(np.int64) * n_items + items[involved]
    time = np.zeros(len(involved), np.int64) if times is None else times[involved]
    order = np.lexsort((involved, returned[involved], time, pair))
    involved, pair = involved[order], pair[order]

    net = weights.copy()
    net[involved] = remaining_quantities(pair, weights[involved])
    if had is not None:
        had = had.copy()
        had[involved] = had_after_returns(pair, weights[involved], had[involved])
    report = row_filter.report
    report.leave_out("returns", NETTED, numbers[returned])
    report.leave_out("cancelled", "are purchases that were returned in full", numbers[(net == 0) & ~returned])
    report.note("reduced", "are purchases that were returned in part", numbers[(net > 0) & (net != weights)])
    return rows._replace(weights=net, had=had).keep(net > 0), net > 0


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


def _no_rows_error(report: Report, policies: Policies) -> InvalidDataError:
    reasons = "; ".join(str(reason) for reason in report.reasons)
    remedies = []
    if report.count("anonymous") and policies.anonymous == "exclude":
        remedies.append('anonymous="group" or "baskets" keeps rows without a user')
    if report.count("returns") or report.count("cancelled"):
        remedies.append('returns="keep" keeps returns')
    if report.count("excluded_item"):
        remedies.append("exclude_items= names all items that are left")
    if report.count("unweighted_event") or report.count("weightless_event"):
        remedies.append("event_weights= gives event types a weight")
    if report.count("low_weight"):
        remedies.append(f"min_weight={policies.min_weight!r} is above all weights that are left")
    if report.count("few_user_events") or report.count("few_item_events"):
        remedies.append("min_user_events and min_item_events take less")
    remedy = f" ({'; '.join(remedies)})" if remedies else ""
    return InvalidDataError(
        f"{report.source}: none of {report.rows_read:,} rows can be used: {reasons}. Check the columns chosen{remedy}."
    )
