"""The checks by which rows are used or left out, for a table in memory and for one that is read part by part.

The order of the checks is fixed, and a row is reported under the first that applies: blank, no row at all (a comment, a
repeated header), malformed, no item, excluded item, anonymous, event type without a weight, unreadable quantity,
unreadable time, zero quantity, return, cancelled by a return, low weight, user or item with too few events.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.checks import check_flag, check_integer, check_number
from ancf.data.arrays import FLOAT32_MAX, object_array
from ancf.data.columns import RATING_HEADINGS, normalize_heading
from ancf.data.event_types import WeighedEvents, describe_types, had_types, no_types_error, rejection_of, weigh_events
from ancf.data.interactions import Interactions
from ancf.data.normalize import NORMALIZERS
from ancf.data.number_times import unit_by_size
from ancf.data.raw_table import EncodedColumn, RawTable, TimeColumn, Unparsed
from ancf.data.rejections import RejectingRows
from ancf.data.report import N_FIRST_ROWS, Report
from ancf.data.restrictions import CoreRounds, ItemPatterns
from ancf.data.returns import NETTED, had_after_returns, remaining_quantities
from ancf.data.text_times import is_clock
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
    rejections: bool = True
    """Whether dislikes, removals and returns are kept as rejections."""
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
        check_flag("rejections", self.rejections)
        ItemPatterns(self.exclude_items)
        if self.min_weight is not None:
            check_number("min_weight", self.min_weight, -FLOAT32_MAX, math.inf, words="None or ")
        check_integer("min_user_events", self.min_user_events, 1, 2**31 - 1)
        check_integer("min_item_events", self.min_item_events, 1, 2**31 - 1)


class Rows(NamedTuple):
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

    def keep(self, kept: NDArray[Any]) -> "Rows":
        """Those of a mask or of indices."""
        times = None if self.times is None else self.times[kept]
        had = None if self.had is None else self.had[kept]
        return Rows(self.numbered()[kept], self.users[kept], self.items[kept], self.weights[kept], times, had)


class RowFilter:
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


def rejecting_rows(
    row_filter: RowFilter,
    table: RawTable,
    codes: tuple[NDArray[np.int32], NDArray[np.int32]],
    events: WeighedEvents | None,
    policies: Policies,
) -> RejectingRows | None:
    """The rows that reject their item, among those that are left before types are judged; ``codes``: users, items.

    None where no type of the table does. Rows with a quantity or a date that cannot be read are none.
    """
    found = None
    if events is not None and policies.rejections:
        found = events.rejecting(table.ids["event"].codes)
    if found is None:
        return None
    rejects, dislikes = found
    rejects = rejects & row_filter.remaining & (codes[0] >= 0)
    for column in (table.weight, table.time):
        if column is not None:
            rejects[column.unparsed.rows] = False
    if policies.returns == "drop" and events is not None:
        rejects &= dislikes | (events.factors(table.ids["event"].codes) == 0)
    at = np.flatnonzero(rejects)
    times = None if table.time is None else table.time.seconds[at]
    return RejectingRows(at + table.first_row, codes[0][at], codes[1][at], times, dislikes[at])


def note_rejections(data: Interactions) -> None:
    """Note how many pairs stand rejected."""
    n = len(data.rejected())
    if n:
        weights = data.event_weights or {}
        types = " or ".join(name for name, weight in weights.items() if rejection_of(name, weight))
        data.report.note(
            "rejected",
            f"{n:,} pair{'' if n == 1 else 's'} of user and item with an event of type {types} and no later purchase: "
            "rejected, and in no list; rejections=False lists them",
        )


def leave_out_untyped(row_filter: RowFilter, table: RawTable, events: WeighedEvents | None) -> None:
    if events is None:
        return
    codes = table.ids["event"].codes
    unknown = f"are of event types without a weight ({describe_types(events.unknown)})"
    row_filter.leave_out("unweighted_event", unknown, ~events.known(codes))
    row_filter.leave_out("weightless_event", "are of event types that weigh 0", events.factors(codes) == 0)


def leave_out_zeros(
    row_filter: RowFilter, table: RawTable, events: WeighedEvents | None, policies: Policies
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


def finish_report(
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


def weigh_types(table: RawTable, policies: Policies) -> WeighedEvents | None:
    """What the types of events weigh; None where there is no column of types.

    A column that is recognized by its heading alone, and whose types mean nothing by themselves, is none.
    """
    column, given = table.ids.get("event"), policies.event_weights
    if column is None:
        if not policies.rejections:
            raise InvalidParameterError(
                f"rejections=False: {table.source} has no column that is recognized as the event type, so nothing is "
                "rejected in it. Name it, for example event='kind', or leave rejections out."
            )
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


def row_numbers(which: NDArray[Any]) -> NDArray[np.int64]:
    """The rows of a mask, or of numbers, as numbers from 0."""
    return np.flatnonzero(which) if which.dtype == bool else which.astype(np.int64)


def leave_out_malformed(row_filter: RowFilter, table: RawTable, policies: Policies) -> None:
    row_filter.leave_out("blank", "are blank lines", table.blank_rows)
    bad = []
    for each in table.left_out:
        unparsed = Unparsed(each.rows, each.values)
        if len(row_filter.leave_out(each.name, each.text, each.rows, unparsed)) and each.is_bad:
            bad.append(each.name)
    if bad and policies.on_bad_rows == "raise":
        raise bad_rows_error(row_filter.report, bad)
    rows = row_filter.leave_out("too_many_fields", "have more fields than the header", table.long_rows)
    if len(rows) and policies.on_bad_rows == "raise":
        raise bad_rows_error(row_filter.report, ["too_many_fields"])


def leave_out_low_weights(report: Report, rows: Rows, table: RawTable, policies: Policies) -> Rows:
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
    report.leave_out("low_weight", text, rows.numbered()[low])
    return rows.keep(~low)


def leave_out_fallen(report: Report, rows: Rows, rounds: CoreRounds, policies: Policies) -> NDArray[np.bool_]:
    """Leave out the rows of users and items that fell out of the core; which rows remain."""
    by_user, by_item = rounds.users[rows.users], rounds.items[rows.items]
    numbers, last = rows.numbered(), np.iinfo(np.int32).max
    for name, side, limit, rare in (
        ("few_user_events", "user", policies.min_user_events, (by_user < last) & (by_user < by_item)),
        ("few_item_events", "item", policies.min_item_events, (by_item < last) & (by_item < by_user)),
    ):
        text = f"belong to {side}s with fewer than {limit} events (min_{side}_events)"
        report.leave_out(name, text, numbers[rare])
    kept: NDArray[np.bool_] = (by_user == last) & (by_item == last)
    return kept


def note_ratings(report: Report, table: RawTable, weights: NDArray[np.float64], policies: Policies) -> None:
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


def refuse_no_times(table: RawTable) -> None:
    if table.time is not None and 0 < len(table.time.unparsed.rows) == table.n_rows:
        raise _no_times_error(table, table.time)


def leave_out_bad(row_filter: RowFilter, table: RawTable) -> list[str]:
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


def bad_rows_error(report: Report, names: list[str]) -> InvalidDataError:
    reasons = "; ".join(str(reason) for reason in report.reasons if reason.name in names)
    return InvalidDataError(f'{report.source}: {reasons}. Fix them, or read with on_bad_rows="drop" to leave them out.')


def resolve_anonymous(row_filter: RowFilter, table: RawTable, policies: Policies) -> EncodedColumn:
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


def net_returns(report: Report, rows: Rows, n_items: int) -> tuple[Rows, NDArray[np.bool_]]:
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
    report.leave_out("returns", NETTED, numbers[returned])
    report.leave_out("cancelled", "are purchases that were returned in full", numbers[(net == 0) & ~returned])
    report.note("reduced", "are purchases that were returned in part", numbers[(net > 0) & (net != weights)])
    return rows._replace(weights=net, had=had).keep(net > 0), net > 0


def no_rows_error(report: Report, policies: Policies) -> InvalidDataError:
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
