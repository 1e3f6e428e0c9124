"""``clean`` for more rows than memory holds: the same checks, row after row in parts, and the same result to the bit.

1. The rows are judged a part at a time. Those that remain are written to the disk, by ranges of users as the ids order
   them: all of a user's rows are in one range, in the order of the table.
2. Each range is read and finished by itself (returns, low weights, summing): all of that stays within a user. What one
   range says about all (which ids occur, the first rows of a reason, extreme times) is small and kept.
3. The events come out range after range, which is their canonical order, and are mapped from the disk.

A user's rows have to fit into memory, and the distinct ids and texts do.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf._native import canonical_events
from ancf.data.bounded_counts import Extremes, TextCounts
from ancf.data.event_types import WeighedEvents, account
from ancf.data.events import canonical_flags
from ancf.data.id_values import sort_order
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.raw_table import EncodedColumn, RawTable
from ancf.data.rejections import RejectingRows, Rejections
from ancf.data.report import Reason, Report
from ancf.data.restrictions import CoreRounds, ItemPatterns, describe_counts
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
    weigh_types,
)
from ancf.data.spill import BYTES_PER_ROW, Budget, DiskArray

# The order of the reasons in a report; those of the table itself stand at the place of None.
_ORDER = (
    *("blank", None, "too_many_fields", "no_item", "excluded_item", "anonymous", "unweighted_event"),
    *("weightless_event", "bad_quantity", "bad_time", "zero_quantity", "returns", "cancelled", "low_weight"),
    *("few_user_events", "few_item_events"),
)
_NEVER = np.iinfo(np.int32).max
_TEXTS = ("name", "category")


class _Users(NamedTuple):
    """The users after the policy for rows without one."""

    values: NDArray[Any]
    n_own: int
    """How many of the values are of the column of users; a visitor or the class of the anonymous ones comes after."""
    are_resolved: bool = False
    """Whether rows without a user may stay; there may be no visitor even then, where no basket has an id."""


class _Ranges:
    """Rows on the disk by ranges of users: a place for each range, as long as it can become."""

    def __init__(self, dtype: np.dtype[Any], counts: NDArray[np.int64], max_rows: int) -> None:
        ends = np.cumsum(counts)
        bounds = [0]
        while bounds[-1] < len(counts):
            before = int(ends[bounds[-1] - 1]) if bounds[-1] else 0
            bounds.append(max(int(np.searchsorted(ends, before + max_rows, side="right")), bounds[-1] + 1))
        self.bounds = bounds
        self.starts = np.concatenate([[0], ends])[bounds]
        self.filled = np.zeros(len(bounds) - 1, np.int64)
        self.rows = DiskArray(dtype)

    def add(self, records: NDArray[Any]) -> None:
        of_range = np.searchsorted(self.bounds, records["user"], side="right") - 1
        order = np.argsort(of_range, kind="stable")
        records, of_range = records[order], of_range[order]
        cuts = np.append(np.flatnonzero(np.diff(of_range, prepend=-1)), len(records))
        for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            at = of_range[first]
            self.write(at, records[first:last])

    def write(self, at: int, records: NDArray[Any]) -> None:
        self.rows.replace(int(self.starts[at] + self.filled[at]), records)
        self.filled[at] += len(records)

    def read(self, at: int) -> NDArray[Any]:
        return self.rows.read(int(self.starts[at]), int(self.filled[at]))


def clean_bounded(table: RawTable, policies: Policies, budget: Budget, num_threads: int | None = None) -> Interactions:
    """What ``cleaning.clean`` returns, with no more rows in memory than the budget allows; raises what that raises."""
    return _Cleaner(table, policies, budget, num_threads).run()


class _Cleaner:
    def __init__(self, table: RawTable, policies: Policies, budget: Budget, num_threads: int | None) -> None:
        self.table, self.policies, self.budget, self.num_threads = table, policies, budget, num_threads
        for role, column in table.ids.items():
            budget.hold(f"values of the column {table.columns[role]!r}", column.values)
        self.item = table.ids["item"]
        self.report = RowFilter(table.part(0, 0)).report
        self.report.rows_read = table.n_rows
        self.account = self._empty_account()
        """What parts and ranges tell, in the order in which they come; ``report`` has it in that of the checks."""
        self.excluded, self.idle_patterns = np.zeros(len(self.item.values), bool), list[str]()
        patterns = ItemPatterns(policies.exclude_items)
        if patterns:
            self.excluded, self.idle_patterns = patterns.matching(self.item.values)
        self.n_excluded = np.zeros(len(self.item.values), np.int64)
        self.rejecting: list[RejectingRows] = []
        """By the codes of the table, part by part."""
        self.texts = [role for role in _TEXTS if role in table.ids]

    def run(self) -> Interactions:
        table, policies = self.table, self.policies
        self.events = weigh_types(table, policies)
        self.knows_interest = self.events is not None and self.events.had(np.empty(0, np.int32)) is not None
        users = self._users()
        order, rank = sort_order(users.values)
        item_order, item_rank = sort_order(self.item.values)
        dtype = np.dtype(
            [("row", "i8"), ("weight", "f8"), ("time", "i8"), ("user", "i4"), ("item", "i4")]
            + [(role, "i4") for role in self.texts]
            + ([("had", "?")] if self.knows_interest else [])
        )
        counts = self._rows_of_users(users)[order]
        self._check_largest(counts, users.values[order])
        ranges = _Ranges(dtype, counts, self.budget.rows)
        for part, rows in self._judged(users):
            records = np.empty(len(rows.users), dtype)
            records["row"] = rows.numbered() + part.first_row
            records["user"], records["item"] = rank[rows.users], item_rank[rows.items]
            records["weight"], records["time"] = rows.weights, 0 if rows.times is None else rows.times
            for role in self.texts:
                records[role] = part.ids[role].codes[rows.numbered()]
            if rows.had is not None:
                records["had"] = rows.had
            ranges.add(records)
        self._raise_for_bad_rows()
        self._check_min_weight()
        rejecting = self._all_rejecting(rank, item_rank)
        ids = (users.values[order], self.item.values[item_order])
        return self._finish(ranges, ids, rejecting)

    def _all_rejecting(self, rank: NDArray[Any], item_rank: NDArray[Any]) -> RejectingRows | None:
        """The rows that reject something, by users and items as their ids order them."""
        if not self.rejecting:
            return None
        numbers, users, items, dislikes = (
            np.concatenate([getattr(each, name) for each in self.rejecting])
            for name in ("numbers", "users", "items", "dislikes")
        )
        times = [each.times for each in self.rejecting if each.times is not None]
        found = RejectingRows(
            numbers, rank[users], item_rank[items], np.concatenate(times) if times else None, dislikes
        )
        self.rejecting.clear()
        self.budget.hold("rows that reject an item", found.numbers)
        return found

    def _check_min_weight(self) -> None:
        if self.policies.min_weight is not None and self.table.weight is None:
            empty = Rows(None, *(np.empty(0, np.int32),) * 2, np.empty(0), None, None)
            leave_out_low_weights(self.report, empty, self.table, self.policies)

    def _empty_account(self) -> Report:
        files = [replace(file) for file in self.report.files]
        return Report(rows_read=self.table.n_rows, row_base=self.table.row_base, files=files)

    def _reasons_in_order(self) -> list[Reason]:
        own = [each.name for each in self.table.left_out]
        order = [name for slot in _ORDER for name in (own if slot is None else [slot])]
        return sorted(self.account.reasons, key=lambda each: order.index(each.name))

    def _parts(self) -> Iterator[RawTable]:
        for start in range(0, self.table.n_rows, self.budget.rows):
            yield self.table.part(start, min(start + self.budget.rows, self.table.n_rows))

    def _users(self) -> _Users:
        """All users that there may be, as texts where visitors are among them."""
        user, policies = self.table.ids["user"], self.policies
        own = _Users(user.values, len(user.values))
        if policies.anonymous == "exclude" or not user.count()[0]:
            return own
        # Whether any of them is left decides what kind of ids there are.
        account, self.account = self.account, self._empty_account()
        n_excluded, self.n_excluded = self.n_excluded, self.n_excluded.copy()
        is_any = any(part_has for part_has in self._anonymous_parts())
        self.account, self.n_excluded = account, n_excluded
        if not is_any:
            return own
        # The values do not depend on the rows: one row without a user stands for all.
        code = np.full(1, -1, np.int32)
        sample = RawTable(self.table.source, 1, self.table.columns)
        sample.ids = {"user": EncodedColumn(code, user.values)}
        if "basket" in self.table.ids:
            sample.ids["basket"] = EncodedColumn(np.zeros(1, np.int32), self.table.ids["basket"].values)
        row_filter = RowFilter(sample)
        values = resolve_anonymous(row_filter, sample, policies).values
        self.notes_on_ids = [note for note in row_filter.report.notes if note.name == "ids_as_text"]
        self.budget.hold("users, those without a name included,", values)
        return _Users(values, len(user.values), True)

    notes_on_ids: list[Reason] = []  # noqa: RUF012, replaced and never appended to

    def _anonymous_parts(self) -> Iterator[bool]:
        for part in self._parts():
            row_filter = RowFilter(part)
            self._leave_out_first(row_filter, part)
            yield bool(((part.ids["user"].codes < 0) & row_filter.remaining).any())

    def _rows_of_users(self, users: _Users) -> NDArray[np.int64]:
        """At most so many rows each of them has."""
        counts = self.table.ids["user"].count()
        rows = np.concatenate([counts[1:], np.zeros(len(users.values) - users.n_own, np.int64)])
        if len(rows) > users.n_own:
            if self.policies.anonymous == "group":
                rows[-1] = counts[0]
            else:
                rows[users.n_own :] = self.table.ids["basket"].count()[1:]
        return rows

    def _check_largest(self, counts: NDArray[np.int64], values: NDArray[Any]) -> None:
        if len(counts):
            at = int(np.argmax(counts))
            why = f"the {int(counts[at]):,} rows of the user {values[at]!r} are sorted together"
            self.budget.check(int(counts[at]) * BYTES_PER_ROW, why)

    def _leave_out_first(self, row_filter: RowFilter, part: RawTable) -> None:
        lenient = replace(self.policies, on_bad_rows="drop")
        leave_out_malformed(row_filter, part, lenient)
        item = part.ids["item"]
        row_filter.leave_out("no_item", "have no item id", item.codes < 0)
        if self.excluded.any():
            which = np.append(self.excluded, False)[item.codes] & row_filter.remaining
            self.n_excluded += np.bincount(item.codes[which], minlength=len(self.n_excluded))
            row_filter.leave_out("excluded_item", "", which)

    def _judged(self, users: _Users) -> Iterator[tuple[RawTable, Rows]]:
        """Each part of the table with those of its rows that remain."""
        policies, events = self.policies, self.events
        for part in self._parts():
            row_filter = RowFilter(part)
            row_filter.report = self.account
            self._leave_out_first(row_filter, part)
            codes = self._user_codes(row_filter, part, users)
            rejecting = rejecting_rows(row_filter, part, (codes, part.ids["item"].codes), events, policies)
            if rejecting is not None:
                self.rejecting.append(rejecting)
            leave_out_untyped(row_filter, part, events)
            leave_out_bad(row_filter, part)
            weight = leave_out_zeros(row_filter, part, events, policies)
            times = None if part.time is None else part.time.seconds
            had = None if events is None else events.had(part.ids["event"].codes)
            rows = Rows(None, codes, part.ids["item"].codes, weight, times, had)
            yield part, rows.keep(np.flatnonzero(row_filter.remaining))

    def _user_codes(self, row_filter: RowFilter, part: RawTable, users: _Users) -> NDArray[np.int32]:
        user = part.ids["user"]
        if not users.are_resolved:
            row_filter.leave_out("anonymous", "have no user id (anonymous)", user.codes < 0)
            return user.codes
        without_values = replace_values(part, {"user": users.n_own, "basket": len(users.values) - users.n_own})
        return resolve_anonymous(row_filter, without_values, self.policies).codes

    def _raise_for_bad_rows(self) -> None:
        table, policies = self.table, self.policies
        named = describe_counts(self.n_excluded, self.item.values) if self.n_excluded.any() else ""
        self.account.reasons = [
            replace(each, text=f"are of items that are excluded: {named}") if each.name == "excluded_item" else each
            for each in self.account.reasons
        ]
        found = {each.name for each in self.account.reasons}
        self.report.reasons = self._reasons_in_order()
        bad = list(dict.fromkeys(each.name for each in table.left_out if each.is_bad and each.name in found))
        for names in (bad, ["too_many_fields"]):
            if policies.on_bad_rows == "raise" and any(name in found for name in names):
                raise bad_rows_error(self.report, names)
        refuse_no_times(table)
        bad = [name for name in ("bad_quantity", "bad_time") if name in found]
        if bad and policies.on_bad_rows == "raise":
            raise bad_rows_error(self.report, bad)
        self.report.reasons.clear()

    def _net_rows(self, records: NDArray[Any], n_items: int) -> tuple[Rows, NDArray[Any]]:
        """The rows of a range after returns and low weights, and which of the records they are."""
        times = None if self.table.time is None else np.ascontiguousarray(records["time"])
        rows = _rows_of(records, times)
        if self.policies.returns == "net" and len(rows.weights) and rows.weights.min() < 0:
            rows, kept = net_returns(self.account, rows, n_items)
            records = records[kept]
        if self.policies.min_weight is not None:
            kept = ~(rows.weights < self.policies.min_weight)
            rows = leave_out_low_weights(self.account, rows, self.table, self.policies)
            records = records[kept]
        return rows, records

    def _finish(
        self, ranges: _Ranges, ids: tuple[NDArray[Any], NDArray[Any]], rejecting: RejectingRows | None
    ) -> Interactions:
        n_users, n_items = len(ids[0]), len(ids[1])
        core = self._core(ranges, n_users, n_items)
        used = (np.zeros(n_users, bool), np.zeros(n_items, bool))
        out = {
            name: DiskArray(kind) for name, kind in zip(("users", "items", "weights"), ("i4", "i4", "f4"), strict=True)
        }
        timed = self.table.time is not None
        event_times, event_had = DiskArray("i8"), DiskArray("?")
        extremes, texts = Extremes(self.table.n_rows), {role: TextCounts(self.table.ids[role]) for role in self.texts}
        bounds_of: dict[str, list[float]] = {"weights": [np.inf, -np.inf], "times": [np.inf, -np.inf]}
        event = "user, item and time" if timed else "user and item"
        for at, lowest in enumerate(ranges.bounds[:-1]):
            records = ranges.read(at)
            rows, records = self._net_rows(records, n_items) if core is None else self._core_rows(records, core)
            if not len(rows.users):
                continue
            numbers = rows.numbered()
            self.account.count_used(numbers)
            if rejecting is not None and not timed and self.events is not None and self.events.has_purchases:
                parts = (rows.users, rows.items, numbers)
                rejecting = rejecting.keep(~rejecting.cleared_by(parts, rows.weights, rows.had, n_items))
            used[0][rows.users], used[1][rows.items] = True, True
            for role, counted in texts.items():
                counted.add(rows.items, records[role], numbers)
            for name, values in (("weights", rows.weights), ("times", rows.times)):
                if values is not None:
                    low, high = bounds_of[name]
                    bounds_of[name] = [min(low, values.min()), max(high, values.max())]
            if rows.times is not None:
                extremes.add(rows.times, numbers)
            columns = (
                rows.users - np.int32(lowest),
                rows.items,
                rows.weights,
                rows.times,
                ranges.bounds[at + 1] - lowest,
                n_items,
                self.num_threads,
            )
            users, items, sums, times, repeated = canonical_events(*columns)
            if rows.had is not None:
                event_had.append(canonical_flags(rows.had, *columns))
            self.account.note("duplicates", f"repeat an earlier row's {event}; quantities summed", numbers[repeated])
            for name, column in (("users", users + np.int32(lowest)), ("items", items), ("weights", sums)):
                out[name].append(column)
            if times is not None:
                event_times.append(times)
        self._write_account()
        report = self.report
        if not report.rows_used:
            raise no_rows_error(report, self.policies)
        names = {role: counted.most_common(n_items)[used[1]] for role, counted in texts.items()}
        report.notes += self.account.notes_of("duplicates")
        if timed:
            extremes.note(report, self.table)
        note_ratings(report, self.table, np.array(bounds_of["weights"]), self.policies)
        sizes = (int(used[0].sum()), int(used[1].sum()), len(out["users"]))
        finish_report(report, self.policies, sizes, np.array(bounds_of["times"]) if timed else None)
        for name, kept in zip(("users", "items"), used, strict=True):
            if not kept.all():
                self._renumber(out[name], kept)
        id_maps = [IdMap._unchecked(values[kept], _kind(values[kept])) for values, kept in zip(ids, used, strict=True)]
        data = Interactions._from_canonical(
            id_maps[0],
            id_maps[1],
            out["users"].mapped(),
            out["items"].mapped(),
            out["weights"].mapped(),
            event_times.mapped() if timed else None,
            had=event_had.mapped() if self.knows_interest else None,
            item_names=names.get("name"),
            item_categories=names.get("category"),
            report=report,
            normalize=self.policies.normalize,
        )
        data.event_weights = None if self.events is None else dict(self.events.weights)
        note_interest(data)
        if rejecting is not None:
            whose, what = (IdMap._unchecked(values, _kind(values)) for values in ids)
            data.rejections = Rejections.of(
                whose, what, rejecting.users, rejecting.items, rejecting.times, rejecting.dislikes
            )
            note_rejections(data)
        return data

    events: WeighedEvents | None = None
    knows_interest = False
    """Whether some types of events do not say that somebody has an item."""

    def _renumber(self, column: DiskArray, kept: NDArray[np.bool_]) -> None:
        """Positions among the ids that are kept."""
        new = np.cumsum(kept, dtype=np.int32) - np.int32(1)
        step = 4 * self.budget.rows
        for start in range(0, len(column), step):
            column.replace(start, new[column[start : start + step]])

    def _write_account(self) -> None:
        """The reasons, and the notes that come before those about events."""
        report, table, told = self.report, self.table, self.account
        report.rows_used, report.files = told.rows_used, told.files
        report.reasons = self._reasons_in_order()
        if self.idle_patterns:
            shown = ", ".join(f'"{each}"' for each in self.idle_patterns)
            report.note("exclude_items", f"exclude_items: no item id is or matches {shown}")
        report.notes += told.notes_of("anonymous")
        report.notes += self.notes_on_ids
        report.notes += told.notes_of("reduced")
        report.ignored, report.columns = tuple(table.ignored), table.columns
        report.notes.extend(table.skipped)
        if self.events is not None:
            report.note("event_types", account(self.events))
        for name, text, noted in table.notes:
            report.note(name, text, noted)

    def _core(self, ranges: _Ranges, n_users: int, n_items: int) -> CoreRounds | None:
        """Which users and items fall out for having too few events; None where nobody asked."""
        min_user, min_item = self.policies.min_user_events, self.policies.min_item_events
        if max(min_user, min_item) == 1:
            return None
        pairs, ends = (DiskArray("i4"), DiskArray("i4")), [0]
        for at, lowest in enumerate(ranges.bounds[:-1]):
            rows, records = self._net_rows(ranges.read(at), n_items)
            records["weight"] = rows.weights
            ranges.filled[at] = 0
            ranges.write(at, records)
            users, items, *_ = canonical_events(
                rows.users - np.int32(lowest),
                rows.items,
                np.ones(len(rows.users)),
                rows.times,
                ranges.bounds[at + 1] - lowest,
                n_items,
                self.num_threads,
            )
            pairs[0].append(users + np.int32(lowest))
            pairs[1].append(items)
            ends.append(len(pairs[0]))
        rounds = CoreRounds(np.full(n_users, _NEVER, np.int32), np.full(n_items, _NEVER, np.int32))
        at, unchanged = 0, 0
        while unchanged < 2:
            side, limit = at % 2, (min_user, min_item)[at % 2]
            fallen = rounds[side]
            counts = np.zeros(len(fallen), np.int64)
            for first, last in itertools.pairwise(ends):
                both = (pairs[0][first:last], pairs[1][first:last])
                left = (rounds.users[both[0]] == _NEVER) & (rounds.items[both[1]] == _NEVER)
                counts += np.bincount(both[side][left], minlength=len(fallen))
            few = (counts < limit) & (fallen == _NEVER)
            fallen[few] = at
            unchanged = 0 if counts[few].any() else unchanged + 1
            at += 1
        return rounds

    def _core_rows(self, records: NDArray[Any], rounds: CoreRounds) -> tuple[Rows, NDArray[Any]]:
        times = None if self.table.time is None else np.ascontiguousarray(records["time"])
        rows = _rows_of(records, times)
        kept = leave_out_fallen(self.account, rows, rounds, self.policies)
        return rows.keep(kept), records[kept]


def replace_values(part: RawTable, n_values: dict[str, int]) -> RawTable:
    """The same rows with stand-ins for the values, of which only the number matters."""
    ids = dict(part.ids)
    for role, n in n_values.items():
        if role in ids:
            ids[role] = EncodedColumn(ids[role].codes, np.zeros(n, np.int64))
    return replace(part, ids=ids)


def _kind(values: NDArray[Any]) -> str:
    return "int" if values.dtype.kind == "i" else IdMap(values[:1]).kind


def _rows_of(records: NDArray[Any], times: NDArray[np.int64] | None) -> Rows:
    row, user, item, weight = (np.ascontiguousarray(records[name]) for name in ("row", "user", "item", "weight"))
    had = np.ascontiguousarray(records["had"]) if "had" in (records.dtype.names or ()) else None
    return Rows(row, user, item, weight, times, had)
