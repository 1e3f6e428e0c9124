"""The columns of a data frame as a table has them: headings of one level, and index levels that are columns, too.

``groupby``, ``pivot_table`` and ``set_index`` move what a purchase table has in its columns into the index, or put a
second level above the headings. Named levels of the index are columns behind the others here. Of headings with levels
the level counts in which most columns are recognized.
"""

from typing import Any, NamedTuple

from ancf._pandas import pd
from ancf.data.columns import KNOWN_HEADINGS, normalize_heading

_KNOWN = frozenset(name for names in KNOWN_HEADINGS.values() for name in names)


class FrameColumns(NamedTuple):
    """A frame with every level of its index that says something as a column, and its headings."""

    frame: "pd.DataFrame"
    headings: list[Any]
    """By which columns are recognized."""
    full: list[Any]
    """By which columns can be named, too: tuples where the headings have levels."""
    ignored: list[str]
    """Levels of the headings that are not read."""


def columns_of_frame(frame: "pd.DataFrame") -> FrameColumns:
    """The columns of a frame, with its index levels behind them."""
    full: list[Any] = list(frame.columns)
    headings, ignored = full, []
    if isinstance(frame.columns, pd.MultiIndex):
        level = max(range(frame.columns.nlevels), key=lambda at: (_n_recognized(full, at), -at))
        headings = [_label(each, level) for each in full]
        ignored = [
            f"level {at} of the headings"
            for at in range(frame.columns.nlevels)
            if at != level and any(str(each[at]) for each in full)
        ]
    levels = _index_levels(frame.index)
    if not levels:
        return FrameColumns(frame, headings, full, ignored)
    names = [name for name, _ in levels]
    parts = [frame.set_axis(range(len(full)), axis=1).reset_index(drop=True)]
    parts += [values.to_frame(index=False, name=len(full) + at) for at, (_, values) in enumerate(levels)]
    return FrameColumns(pd.concat(parts, axis=1), headings + names, full + names, ignored)


def _n_recognized(labels: list[Any], level: int) -> int:
    return len({normalize_heading(_label(each, level)) for each in labels} & _KNOWN)


def _label(labels: tuple[Any, ...], level: int) -> Any:
    """The label at this level; ``reset_index`` leaves empty ones, for which the first of the others counts."""
    return labels[level] if str(labels[level]) else next((each for each in labels if str(each)), "")


def _index_levels(index: "pd.Index[Any]") -> "list[tuple[Any, pd.Index[Any]]]":
    """Name and values of each level of an index that says something: one with a name, or of other than numbers."""
    if not isinstance(index, pd.MultiIndex):
        if index.name is None and pd.api.types.is_integer_dtype(index.dtype):
            return []
        return [("index" if index.name is None else index.name, index)]
    return [
        (f"level_{at}" if name is None else name, index.get_level_values(at)) for at, name in enumerate(index.names)
    ]


def heading_text(heading: Any) -> str:
    """A heading for people: the levels of a tuple with a space between them."""
    return " ".join(str(part) for part in heading if str(part)) if isinstance(heading, tuple) else str(heading)


def frame_of_series(series: "pd.Series[Any]") -> "pd.DataFrame":
    """A Series as a frame with one column, such as what ``groupby([user, item])[weight].sum()`` returns."""
    return series.to_frame("weight" if series.name is None else series.name)
