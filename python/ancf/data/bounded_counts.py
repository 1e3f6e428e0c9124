"""What the ranges of a table that is read part by part say about all of it: extreme times, and the texts of items."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.number_times import END_PLAUSIBLE, FIRST_PLAUSIBLE
from ancf.data.raw_table import EncodedColumn, RawTable
from ancf.data.report import Report
from ancf.data.row_checks import row_numbers
from ancf.data.time_range import TimeRange, n_outside, note_strays_of


class Extremes:
    """The earliest and the latest times with their rows: what tells which of all lie far outside."""

    def __init__(self, n_rows: int) -> None:
        self.size = n_outside(n_rows) + 2
        self.low = self.high = (np.empty(0, np.int64), np.empty(0, np.int64))
        self.n = 0

    def add(self, times: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self.n += len(times)
        self.low = self._kept(self.low, times, rows, 1)
        self.high = self._kept(self.high, times, rows, -1)

    def _kept(self, held: Any, times: NDArray[np.int64], rows: NDArray[np.int64], sign: int) -> Any:
        times, rows = np.concatenate([held[0], times]), np.concatenate([held[1], rows])
        if len(times) > self.size:
            chosen = np.argpartition(sign * times, self.size - 1)[: self.size]
            times, rows = times[chosen], rows[chosen]
        return times, rows

    def note(self, report: Report, table: RawTable) -> None:
        if not self.n:
            return
        usual = TimeRange.from_extremes(np.sort(self.low[0]), np.sort(self.high[0]), self.n)
        rows, first = np.unique(np.concatenate([self.low[1], self.high[1]]), return_index=True)
        times = np.concatenate([self.low[0], self.high[0]])[first]
        told = np.zeros(len(times), bool)
        for name, _, noted in table.notes:
            if name == "far_times":
                told |= (times >= END_PLAUSIBLE) | (times < FIRST_PLAUSIBLE)
            elif name == "early_numbers" and isinstance(noted, np.ndarray):
                told |= np.isin(rows, row_numbers(noted))
        note_strays_of(usual, report, times, rows, rows[told])


class TextCounts:
    """How often each text stands beside each item, and where first; one number for each such pair."""

    def __init__(self, texts: EncodedColumn) -> None:
        self.texts = texts
        self.keys, self.counts, self.first = (np.empty(0, np.int64) for _ in range(3))

    def add(self, items: NDArray[np.int32], codes: NDArray[np.int32], rows: NDArray[np.int64]) -> None:
        named = codes >= 0
        key = items[named].astype(np.int64) * len(self.texts.values) + codes[named]
        found, inverse = np.unique(np.concatenate([self.keys, key]), return_inverse=True)
        n_known = len(self.keys)
        counts = np.bincount(inverse, np.concatenate([self.counts, np.ones(len(key))]), len(found)).astype(np.int64)
        first = np.full(len(found), np.iinfo(np.int64).max)
        first[inverse[:n_known]] = self.first
        np.minimum.at(first, inverse[n_known:], rows[named])
        self.keys, self.counts, self.first = found, counts, first

    def most_common(self, n_items: int) -> NDArray[Any]:
        """The most frequent text of each item, of equally frequent ones the first in the table."""
        best = np.full(n_items, -1, np.int64)
        # Written last, the most frequent one stays.
        ranked = self.keys[np.lexsort((-self.first, self.counts))]
        if len(ranked):
            best[ranked // len(self.texts.values)] = ranked % len(self.texts.values)
        result = np.full(n_items, None, object)
        result[best >= 0] = self.texts.values[best[best >= 0]]
        return result
