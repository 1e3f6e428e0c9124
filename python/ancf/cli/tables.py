"""Purchase tables on the command line: reading them, and splitting them by time where there is a time."""

from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, Function, option
from ancf.cli.options import apply, options_of
from ancf.cli.output import say
from ancf.data.reading import read_interactions

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions

_COLUMNS = ("user", "item", "weight", "time", "name", "category", "basket")
_SECTION = "The table"
_TIME = "time: the last part of the events"
SPLITS = ("auto", "time", "random", "leave-last-out", "user")


def table_argument(function: Function) -> Function:
    """The table itself."""
    return click.argument("table", metavar="TABLE")(function)


def _reading() -> dict[str, Any]:
    columns = {
        f"{name}_column": option(
            f"--{name}-column",
            f"{name}_column",
            metavar="NAME",
            section=_SECTION,
            help=f"Heading or number (from 0) of the {'product name' if name == 'name' else name} column"
            + ("; 'none' for no such column." if name == "user" else "."),
        )
        for name in _COLUMNS
    }
    return columns | options_of(read_interactions, section=_SECTION, skip=(*_COLUMNS, "num_threads"))


_READING = _reading()
READING = tuple(_READING)


def reading_options(function: Function) -> Function:
    """The options of ``read_interactions``."""
    return apply(list(_READING.values()), function)


def read(source: str, options: dict[str, Any], num_threads: int | None = None) -> "Interactions":
    """Read a table with those of its options that somebody set."""
    chosen: dict[str, Any] = {}
    for name in READING:
        value = options.get(name)
        if value is None:
            continue
        chosen[name.removesuffix("_column")] = _column(value) if name.endswith("_column") else value
    return read_interactions(source, num_threads=num_threads, **chosen)


def _column(value: str) -> str | int | bool:
    if value.lower() == "none":
        return False
    return int(value) if value.isascii() and value.isdigit() else value


def told(data: "Interactions") -> str:
    """One line about a table that was read."""
    report = data.report
    left = f" ({report.rows_left_out:,} of {report.rows_read:,} rows left out)" if report.rows_left_out else ""
    counts = ", ".join(
        counted(number, thing)
        for number, thing in ((data.n_users, "user"), (data.n_items, "item"), (len(data), "event"))
    )
    guessed = "".join(f"; {note}" for note in report.notes if note.name in ("encoding", "date_order"))
    return f"{report.source}: {counts}{left}{guessed}"


def counted(number: int, thing: str) -> str:
    """A number of things."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def has_times(data: "Interactions") -> bool:
    """Whether a split by time has something to go by."""
    return data.times is not None and len(data) > 1 and bool(data.times.min() != data.times.max())


def split(data: "Interactions", kind: str, share: float, random_state: int) -> "tuple[Interactions, Interactions]":
    """A part to learn from and a part held out; says on stderr how it was cut.

    Raises
    ------
    Failure
        If the share is none.
    """
    import ancf

    if not 0 < share < 1:
        raise Failure(f"the part held out is {share}; it must be between 0 and 1, such as 0.2.", 2)
    if kind == "auto":
        kind = "time" if has_times(data) else "random"
    shares = (1 - share, share)
    if kind == "time":
        parts = ancf.time_split(data, shares)
        at = parts[1].times.min() if parts[1].times is not None else 0
        how = f"by time: held out is what came from {_moment(at)} on"
    elif kind == "leave-last-out":
        parts = ancf.leave_last_out(data, random_state=random_state)
        how = "each customer's last event is held out"
    elif kind == "user":
        parts = ancf.user_split(data, shares, random_state=random_state)
        how = "by customer: held out are customers with all of theirs"
    else:
        parts = ancf.random_split(
            data, shares, random_state=random_state, on_leak="ignore" if _timeless(data) else "warn"
        )
        how = "at random" + (", as the table has no times" if _timeless(data) else "")
    train, held = parts[0], parts[-1]
    say(f"Split {how} ({counted(len(train), 'event')} to learn from, {len(held):,} held out)")
    return train, held


def _timeless(data: "Interactions") -> bool:
    return not has_times(data)


def _moment(seconds: Any) -> str:
    import pandas as pd

    return pd.Timestamp(int(seconds), unit="s").strftime("%Y-%m-%d %H:%M")
