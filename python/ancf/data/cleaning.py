"""From a raw table to interactions: every row is used or reported, by policies that the caller chose.

The order of the judgements is fixed, and a row stands under the first that applies: blank, malformed, no item,
anonymous, unreadable quantity, unreadable time, zero quantity, return, cancelled by a return. Duplicates are summed and
noted.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ancf._native import canonical_events
from ancf.data.ids import IdMap, sort_order
from ancf.data.interactions import Interactions
from ancf.data.normalize import NORMALIZERS
from ancf.data.raw_table import Coded, Odd, RawTable
from ancf.data.report import FIRST_ROWS, Report
from ancf.errors import InvalidDataError, InvalidParameterError

Anonymous = Literal["exclude", "group", "baskets"]
Returns = Literal["net", "drop", "keep"]
OnBadRows = Literal["raise", "drop"]

ANONYMOUS_TEXT = "anonymous"
"""The id of the one class of anonymous customers where ids are text; -1 where they are numbers."""


@dataclass(frozen=True)
class Policies:
    anonymous: Anonymous = "exclude"
    returns: Returns = "net"
    on_bad_rows: OnBadRows = "raise"
    strict: bool = False
    normalize: str = "none"

    def check(self) -> None:
        for name, value, allowed in (
            ("anonymous", self.anonymous, ("exclude", "group", "baskets")),
            ("returns", self.returns, ("net", "drop", "keep")),
            ("on_bad_rows", self.on_bad_rows, ("raise", "drop")),
            ("normalize", self.normalize, NORMALIZERS),
        ):
            if value not in allowed:
                raise InvalidParameterError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}.")


class _Ledger:
    """Which rows are still in, and the account of those that are not."""

    def __init__(self, table: RawTable) -> None:
        self.report = Report(
            source=table.source, columns=table.columns, rows_read=table.n_rows, row_base=table.row_base
        )
        self.alive = np.ones(table.n_rows, bool)

    def leave_out(self, name: str, text: str, which: NDArray[Any], odd: Odd | None = None) -> NDArray[np.int64]:
        """Strike rows (a mask or indices), and give back those that were still in."""
        if not which.any() and which.dtype == bool:
            return np.empty(0, np.int64)
        rows = np.flatnonzero(which & self.alive) if which.dtype == bool else which[self.alive[which]]
        values = () if odd is None else _texts_of(odd, rows)
        self.report.leave_out(name, text, rows, values)
        self.alive[rows] = False
        return rows


def clean(table: RawTable, policies: Policies, num_threads: int | None = None) -> Interactions:
    """Interactions from the rows that can be used; the account is in their ``report``.

    Raises
    ------
    InvalidDataError
        If rows are malformed and ``on_bad_rows="raise"``, if anything at all had to be decided and ``strict``, or if
        no row is left.
    """
    ledger = _Ledger(table)
    report, alive = ledger.report, ledger.alive
    _strike_malformed(ledger, table, policies)
    item = table.ids["item"]
    ledger.leave_out("no_item", "have no item id", item.codes < 0)
    user = _with_anonymous(ledger, table, policies)
    _strike_unreadable(ledger, table, policies)

    weight = np.ones(table.n_rows) if table.weight is None else table.weight.values
    ledger.leave_out("zero_quantity", "have a quantity of zero", weight == 0)
    if policies.returns == "drop":
        ledger.leave_out("returns", "are returns (negative quantity), dropped", weight < 0)

    # None for all of them: to list them, and to take them, would cost as much as half of the sorting.
    rows = None if alive.all() else np.flatnonzero(alive)
    users, items, weights = user.codes, item.codes, weight
    times = None if table.time is None else table.time.seconds
    if rows is not None:
        users, items, weights = users[rows], items[rows], weights[rows]
        times = None if times is None else times[rows]
    if policies.returns == "net" and len(weights) and weights.min() < 0:
        rows = np.arange(table.n_rows) if rows is None else rows
        weights, kept = _netted(ledger, rows, users, items, weights, times, len(item.values))
        rows, users, items, weights = rows[kept], users[kept], items[kept], weights[kept]
        times = None if times is None else times[kept]

    report.rows_used = len(users)
    for name, text, noted in table.notes:
        report.note(name, text, noted)
    if not len(users):
        raise InvalidDataError(_nothing_left(report, policies))

    user_ids, users = _sorted_ids(user, users, whole=rows is None)
    item_ids, items = _sorted_ids(item, items, whole=rows is None)
    names = _most_common(table.ids.get("name"), rows, items, len(item_ids))
    categories = _most_common(table.ids.get("category"), rows, items, len(item_ids))
    weights = np.ascontiguousarray(weights, np.float64)
    own_users, own_items, sums, stamps, repeated = canonical_events(
        users, items, weights, times, len(user_ids), len(item_ids), num_threads
    )
    what = "user, item and time" if times is not None else "user and item"
    report.note(
        "duplicates", f"repeat an earlier row's {what}; quantities summed", repeated if rows is None else rows[repeated]
    )
    if policies.strict and (report.reasons or report.notes):
        decisions = "; ".join(str(each) for each in (*report.reasons, *report.notes))
        raise InvalidDataError(f"{table.source}: strict=True, and not every row is clean: {decisions}.")
    report.summary = {"users": len(user_ids), "items": len(item_ids), "events": len(own_users)}
    if times is not None:
        moments = pd.to_datetime([int(times.min()), int(times.max())], unit="s")
        report.summary["from"], report.summary["to"] = (str(moment) for moment in moments)
    return Interactions._of_canonical(
        user_ids,
        item_ids,
        own_users,
        own_items,
        sums,
        stamps,
        item_names=names,
        item_categories=categories,
        report=report,
        normalize=policies.normalize,
    )


def _strike_malformed(ledger: _Ledger, table: RawTable, policies: Policies) -> None:
    ledger.leave_out("blank", "are blank lines", table.blank_rows)
    rows = ledger.leave_out("too_many_fields", "have more fields than the header", table.long_rows)
    if len(rows) and policies.on_bad_rows == "raise":
        raise _bad_rows(ledger.report, ["too_many_fields"])


def _strike_unreadable(ledger: _Ledger, table: RawTable, policies: Policies) -> None:
    found = []
    if table.weight is not None and len(table.weight.odd.rows):
        odd = table.weight.odd
        if len(ledger.leave_out("bad_quantity", "have a quantity that is not a finite number", odd.rows, odd)):
            found.append("bad_quantity")
    if table.time is not None and len(table.time.odd.rows):
        odd = table.time.odd
        if len(odd.rows) == table.n_rows:
            raise InvalidDataError(
                f"{table.source}: no value of the time column {table.columns['time']!r} is a date "
                f'("{odd.texts[0]}" in row {table.row_base}). Name another with time=, or read without: time=False.'
            )
        if len(ledger.leave_out("bad_time", "have a date that cannot be read", odd.rows, odd)):
            found.append("bad_time")
    if found and policies.on_bad_rows == "raise":
        raise _bad_rows(ledger.report, found)


def _bad_rows(report: Report, names: list[str]) -> InvalidDataError:
    said = "; ".join(str(reason) for reason in report.reasons if reason.name in names)
    return InvalidDataError(f'{report.source}: {said}. Fix them, or read with on_bad_rows="drop" to leave them out.')


def _texts_of(odd: Odd, rows: NDArray[np.int64]) -> list[str]:
    """What stands in the first of these rows, as far as it was kept."""
    known = dict(zip(odd.rows[: len(odd.texts)].tolist(), odd.texts, strict=True))
    return [known[row] for row in rows[:FIRST_ROWS].tolist() if row in known]


def _with_anonymous(ledger: _Ledger, table: RawTable, policies: Policies) -> Coded:
    """The users, after the policy for rows without one."""
    user = table.ids["user"]
    nobody = user.codes < 0
    if not nobody.any():
        return user
    nobody &= ledger.alive
    rows = np.flatnonzero(nobody)
    if not len(rows):
        return user
    if policies.anonymous == "exclude":
        ledger.leave_out("anonymous", "have no user id (anonymous)", rows)
        return user
    if policies.anonymous == "group":
        text = user.values.dtype == object
        ledger.report.note("anonymous", "have no user id and make one class of their own", rows)
        own: Any = ANONYMOUS_TEXT if text else -1
        while text and own in set(user.values.tolist()):
            own = f"_{own}"
        codes = np.where(nobody, len(user.values), user.codes).astype(np.int32)
        return Coded(codes, np.append(user.values, np.array([own], user.values.dtype)))
    basket = table.ids.get("basket")
    if basket is None:
        raise InvalidParameterError(
            f'anonymous="baskets": {table.source} has no column that is recognised as the basket. '
            "Name it, for example basket='InvoiceNo'."
        )
    ledger.leave_out("anonymous", "have neither user id nor basket", nobody & (basket.codes < 0))
    nobody &= basket.codes >= 0
    ledger.report.note("anonymous", "have no user id; each basket is a visitor", np.flatnonzero(nobody))
    if user.values.dtype != object and len(user.values):
        ledger.report.note("ids_as_text", "user ids are taken as text, to stand beside the baskets")
    known = [value if isinstance(value, str) else str(value) for value in user.values.tolist()]
    visitors = [f"basket:{value}" for value in basket.values.tolist()]
    values = np.empty(len(known) + len(visitors), object)
    values[:] = known + visitors
    return Coded(np.where(nobody, basket.codes + len(known), user.codes).astype(np.int32), values)


def _netted(
    ledger: _Ledger,
    rows: NDArray[np.int64],
    users: NDArray[Any],
    items: NDArray[Any],
    weights: NDArray[np.float64],
    times: NDArray[np.int64] | None,
    n_items: int,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Quantities after each return took back what its customer had bought of the item before, latest purchase first.

    With S_k the sum of the quantities up to event k, what is left of purchase k is min_{t≥k} S_t - S_{k-1}, at least 0
    and at most what was bought: later returns eat into it only once they have eaten what came after it, and a return of
    something bought before the table begins takes nothing back. Only pairs with a return are touched. Without times,
    returns come after all purchases of the pair.
    """
    returned = weights < 0
    by_user, by_item = np.zeros(int(users.max()) + 1, bool), np.zeros(n_items, bool)
    by_user[users[returned]] = True
    by_item[items[returned]] = True
    involved = np.flatnonzero(by_user[users] & by_item[items])
    pair = users[involved].astype(np.int64) * n_items + items[involved]
    involved = involved[np.isin(pair, np.unique(users[returned].astype(np.int64) * n_items + items[returned]))]
    pair = users[involved].astype(np.int64) * n_items + items[involved]
    moment = np.zeros(len(involved), np.int64) if times is None else times[involved]
    order = np.lexsort((involved, returned[involved], moment, pair))
    involved, pair = involved[order], pair[order]

    bought = pd.Series(weights[involved])
    total = bought.groupby(pair).cumsum()
    least = total[::-1].groupby(pair[::-1]).cummin()[::-1]
    before = np.append(0.0, total.to_numpy()[:-1])
    before[1:][pair[1:] != pair[:-1]] = 0.0
    left = least.to_numpy() - before
    given = bought.to_numpy()
    # Cumulative sums leave crumbs of about 1e-16 of what was bought.
    left = np.where(left >= given * (1 - 1e-9), given, left)
    left[left <= 1e-9 * np.abs(given)] = 0.0

    net = weights.copy()
    net[involved] = left
    ledger.report.leave_out("returns", "are returns, netted against earlier purchases", rows[returned])
    ledger.report.leave_out("cancelled", "are purchases that were returned in full", rows[(net == 0) & ~returned])
    ledger.report.note("reduced", "are purchases that were returned in part", rows[(net > 0) & (net != weights)])
    return net, net > 0


def _sorted_ids(column: Coded, codes: NDArray[np.int32], whole: bool) -> tuple[IdMap, NDArray[np.int32]]:
    """The ids that occur, ascending, and the rows' positions among them. ``whole``: the codes are all of the column."""
    values = column.values
    if not (whole and column.ascending):
        used = np.zeros(len(values), bool)
        used[codes] = True
        if not used.all():
            codes = (np.cumsum(used, dtype=np.int32) - np.int32(1))[codes]
            values = values[used]
    if not column.ascending:
        order, rank = sort_order(values)
        codes, values = rank[codes], values[order]
    kind = "int" if values.dtype.kind == "i" else IdMap(values[:1]).kind
    return IdMap._trusted(values, kind), np.ascontiguousarray(codes, np.int32)


def _most_common(
    texts: Coded | None, rows: NDArray[np.int64] | None, items: NDArray[np.int32], n_items: int
) -> NDArray[Any] | None:
    """The text that stands most often beside each item (the first in the table among equals), None where there is none.

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
        # Here the best comes last.
        ranked = distinct[np.lexsort((-np.arange(len(distinct)), counts))]
        best[ranked // len(texts.values)] = ranked % len(texts.values)
    result = np.full(n_items, None, object)
    known = best >= 0
    result[known] = texts.values[best[known]]
    return result


def _nothing_left(report: Report, policies: Policies) -> str:
    said = "; ".join(str(reason) for reason in report.reasons)
    ways = []
    if report.count("anonymous") and policies.anonymous == "exclude":
        ways.append('anonymous="group" or "baskets" keeps rows without a user')
    if report.count("returns") or report.count("cancelled"):
        ways.append('returns="keep" keeps returns')
    remedy = f" ({'; '.join(ways)})" if ways else ""
    return f"{report.source}: none of {report.rows_read:,} rows can be used: {said}. Check the columns chosen{remedy}."
