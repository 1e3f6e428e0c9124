"""The range of time in which nearly all events of a table lie, whatever a few of them say.

A year typed wrong, a pre-order and 9999-12-31 for "unknown" are moments too, and one of them must not become the day
from which everybody's purchases are dated. The range leaves out the newest and the oldest thousandth of the events, at
least three of each (fewer than one in twenty in a small table), so that its end is a moment by which nearly all have
happened.
An event is *stray* if it lies further outside than a twentieth of the range, a day, or ten times what as many events
take on average: the true last days of a table are outside the range as well, but near it.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data.report import N_FIRST_ROWS, Report

SECONDS_PER_DAY = 86400
_SHARE_OUTSIDE = 1000
"""One event in so many may lie outside at either end."""
_LEAST_OUTSIDE = 3
_SMALL_TABLE = 20
"""With fewer events each is taken at its word; one in so many may be outside where three are more than that."""
_NEAR = 0.05
_NEAR_EVENTS = 10.0


def n_outside(n: int) -> int:
    """How many of ``n`` events may lie outside at either end."""
    return max(n // _SHARE_OUTSIDE, min(_LEAST_OUTSIDE, n // _SMALL_TABLE))


class TimeRange(NamedTuple):
    """From when to when nearly all events lie, in seconds since 1970, and how near to that others count as usual."""

    start: int
    end: int
    margin: int

    @classmethod
    def from_times(cls, times: NDArray[np.int64]) -> Self:
        """The range of these times (at least one, in any order)."""
        n = len(times)
        outside = n_outside(n)
        ordered = np.partition(times, (outside, n - 1 - outside))
        return cls._of(int(ordered[outside]), int(ordered[n - 1 - outside]), outside, n)

    @classmethod
    def from_extremes(cls, lowest: NDArray[np.int64], highest: NDArray[np.int64], n: int) -> Self:
        """The range of ``n`` times, of which these are the first and the last, both ascending."""
        outside = n_outside(n)
        return cls._of(int(lowest[outside]), int(highest[-1 - outside]), outside, n)

    @classmethod
    def _of(cls, start: int, end: int, outside: int, n: int) -> Self:
        near = max(_NEAR, _NEAR_EVENTS * (outside + 1) / n)
        return cls(start, end, max(int((end - start) * near), SECONDS_PER_DAY))

    def strays(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these times lie far outside."""
        return (times < self.start - self.margin) | (times > self.end + self.margin)

    def clip(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same times, none of them after the end."""
        return np.minimum(times, self.end)


def note_strays(
    report: Report, times: NDArray[np.int64], rows: NDArray[np.int64] | None, told: NDArray[np.int64]
) -> None:
    """Name the rows whose time lies far from all others; ``rows`` are the row numbers of the times, from 0.

    ``told`` are the rows of which a note about their date is there already.
    """
    if len(times):
        note_strays_of(TimeRange.from_times(times), report, times, rows, told)


def note_strays_of(
    usual: TimeRange,
    report: Report,
    times: NDArray[np.int64],
    rows: NDArray[np.int64] | None,
    told: NDArray[np.int64],
) -> None:
    """The same with a range that is known; the times are all that are outside it, and the nearest within."""
    stray = usual.strays(times)
    if not stray.any():
        return
    first, last = int(times[~stray].min()), int(times[~stray].max())
    new = stray & ~np.isin(np.arange(len(times)) if rows is None else rows, told) if len(told) else stray
    for name, which, side in (
        ("late_times", new & (times > last), "after"),
        ("early_times", new & (times < first), "before"),
    ):
        at = np.flatnonzero(which)
        if not len(at):
            continue
        nearest = int(times[at].min()) - last if side == "after" else first - int(times[at].max())
        least = "at least " if len(at) > 1 else ""
        found = at if rows is None else rows[at]
        shown = at[np.argsort(found, kind="stable")[:N_FIRST_ROWS]]
        values = [str(pd.Timestamp(int(time), unit="s").date()) for time in times[shown]]
        report.note(name, f"lie {least}{_days(nearest)} {side} all others", found, values)


def _days(seconds: int) -> str:
    days = max(round(seconds / SECONDS_PER_DAY), 1)
    return f"{days:,} day{'s' if days != 1 else ''}"
