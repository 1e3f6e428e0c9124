"""Purchase tables on the command line: reading them, and splitting them by time where there is a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, Function, Option, in_options, with_options
from ancf.cli.options import explicit_options, parameter_options, typed_options
from ancf.cli.output import print_note
from ancf.data.reading import read_interactions

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions

_COLUMNS = ("user", "item", "weight", "time", "name", "category", "basket", "event")
_SAID = {"name": "product name", "event": "event type"}
_SECTION = "Table"
_SPLIT_SEED = 42
# Notes that are told beside the counts.
_SHOWN_NOTES = (
    *("encoding", "date_order", "time_unit", "mixed_units", "early_numbers", "far_times", "time_zones"),
    *("item_features", "user_features", "event_types", "no_event_types", "event_weights", "interest", "rejected"),
    *("late_times", "early_times", "skipped_lines", "comment_lines", "hashes", "late_key", "passed_over"),
)
SPLITS = ("auto", "time", "random", "leave-last-out", "user")


def table_argument(function: Function) -> Function:
    """The table itself, or several that are read as one."""
    return click.argument("table", metavar="TABLE...", nargs=-1, required=True)(function)


def _reading_options() -> dict[str, Option]:
    columns = {
        f"{name}_column": Option(
            [f"--{name}-column", f"{name}_column"],
            metavar="NAME",
            section=_SECTION,
            help=f"Heading or number (from 0) of the {_SAID.get(name, name)} column"
            + ("; 'none' for no such column." if name == "user" else "; two as DATE,CLOCK." if name == "time" else "."),
        )
        for name in _COLUMNS
    }
    lists = {
        "event_weights": Option(
            ["--event-weights", "event_weights"],
            metavar="TYPE=W,...",
            section=_SECTION,
            help="What an event of each type weighs: view=1,cart=3,purchase=10. [as the names say]",
        ),
        "missing": Option(
            ["--missing", "missing"],
            multiple=True,
            metavar="WORD",
            section=_SECTION,
            help="A word that stands for a missing id, as it is written; again for more, '' for none. [-1, NA, ...]",
        ),
        "exclude_items": Option(
            ["--exclude-items", "exclude_items"],
            multiple=True,
            metavar="ID",
            section=_SECTION,
            help="An item that is no good, such as postage: an id, or a pattern with * and ?; again for more.",
        ),
    }
    features = {
        f"{side}_features": Option(
            [f"--{side}-features", f"{side}_features"],
            metavar="FILE",
            section=_SECTION,
            help=f"A table of attributes of the {side}s by id: CSV, TSV, JSON or Parquet.",
        )
        for side in ("item", "user")
    }
    skip = (*_COLUMNS, *lists, *features, "layout", "num_threads")
    beside = [*columns.values(), *features.values(), *lists.values()]
    made = parameter_options(read_interactions, section=_SECTION, skip=skip, beside=beside)
    return columns | features | made | lists


_READING = tuple(_reading_options())


def reading_options(function: Function) -> Function:
    """The options of ``read_interactions``."""
    return with_options(function, list(_reading_options().values()))


def test_part_options(function: Function) -> Function:
    """``--test-share`` and ``--split``: which part of the table is held out to measure on."""
    share = Option(
        ["--test-share"],
        type=click.FLOAT,
        metavar="SHARE",
        default=0.2,
        section="Evaluation",
        help="The part of the events that is held out. [0.2]",
    )
    split = Option(
        ["--split", "split_kind"],
        type=click.Choice(SPLITS),
        default="auto",
        section="Evaluation",
        help="How to split: by time where there is a time, else at random. [auto]",
    )
    return with_options(function, [share, split])


def check_test_part(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse a share that would have no effect.

    Raises
    ------
    Failure
        Exit code 2.
    """
    if options["split_kind"] == "leave-last-out" and typed_options(ctx, ("test_share",)):
        raise Failure(
            "--test-share has no effect with --split leave-last-out, which holds each customer's last event out. "
            "Leave one of them out.",
            2,
        )


def note_left_out(result: Any) -> None:
    """Lines about what an evaluation leaves out."""
    if result.n_unknown_users:
        what = "get what is popular" if result.includes_strangers else "are left out"
        print_note(f"{result.n_unknown_users:,} customers of the test part were not in training and {what}")
    if result.n_known_pairs:
        print_note(f"{result.n_known_pairs:,} repeat purchases do not count (--repeats counts them)")


def read_table(source: str | Sequence[str], options: dict[str, Any], num_threads: int | None = None) -> "Interactions":
    """Read a table, or several as one, with those of its options that somebody set."""
    keywords: dict[str, Any] = {}
    for name in _READING:
        value = options.get(name)
        if value is None or value == ():
            continue
        if name == "event_weights":
            keywords[name] = value if isinstance(value, dict) else _event_weights(value)
        elif name == "time_column" and "," in value:
            keywords["time"] = [_column(each.strip()) for each in value.split(",")]
        else:
            keywords[name.removesuffix("_column")] = _column(value) if name.endswith("_column") else value
    if not isinstance(source, str):
        source = source[0] if len(source) == 1 else list(source)
    return read_interactions(source, num_threads=num_threads, **keywords)


def _event_weights(text: str) -> dict[str, float]:
    """Weights as they are typed: view=1,purchase=10."""
    weights = {}
    for part in text.split(","):
        name, sign, number = part.rpartition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise Failure(f"--event-weights: {part!r} is no type with a number. Give view=1,cart=3,purchase=10.", 2)
    return weights


def _column(value: str) -> str | int | bool:
    if value.lower() == "none":
        return False
    return int(value) if value.isascii() and value.isdigit() else value


def describe_reading(data: "Interactions") -> str:
    """One line about a table that was read."""
    report = data.report
    left_out = f" ({report.rows_left_out:,} of {report.rows_read:,} rows left out)" if report.rows_left_out else ""
    counts = ", ".join(
        count_text(number, thing)
        for number, thing in ((data.n_users, "user"), (data.n_items, "item"), (len(data), "event"))
    )
    guessed = "".join(f"; {note}" for note in report.notes if note.name in _SHOWN_NOTES)
    return f"{report.source}: {counts}{left_out}{in_options(guessed)}"


def count_text(number: int, thing: str) -> str:
    """A number of things in words: 1 user, 2 users."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def split_seed(ctx: click.Context) -> int:
    """The seed of a random split: --random-state where it was given as a number, else 42."""
    seed = explicit_options(ctx, ["random_state"]).get("random_state")
    return seed if isinstance(seed, int) else _SPLIT_SEED


def split_table(data: "Interactions", kind: str, share: float, seed: int) -> "tuple[Interactions, Interactions]":
    """A part to train on and a part held out; says on stderr how it was cut.

    Raises
    ------
    Failure
        If the share is not between 0 and 1, or the seed is none that NumPy takes.
    """
    import ancf

    if not 0 < share < 1:
        raise Failure(f"the part held out is {share}; it must be between 0 and 1, such as 0.2.", 2)
    timeless = not _has_times(data)
    if kind == "auto":
        kind = "random" if timeless else "time"
    if kind != "time" and not 0 <= seed < 2**32:
        raise Failure(f"--random-state {seed}: a random split takes a whole number from 0 to {2**32 - 1}.", 2)
    shares = (1 - share, share)
    if kind == "time":
        parts = ancf.time_split(data, shares)
        at = parts[1].times.min() if parts[1].times is not None else 0
        how = f"by time: held out is what came from {_time_text(at)} on"
    elif kind == "leave-last-out":
        parts = ancf.leave_last_out(data, random_state=seed)
        how = "each customer's last event is held out"
    elif kind == "user":
        parts = ancf.user_split(data, shares, random_state=seed)
        how = "by customer: held out are customers with all of theirs"
    else:
        parts = ancf.random_split(data, shares, random_state=seed, on_leak="ignore" if timeless else "warn")
        how = "at random" + (", as the table has no times" if timeless else "")
    train, held_out = parts[0], parts[-1]
    print_note(f"Split {how} ({count_text(len(train), 'event')} to train on, {len(held_out):,} held out)")
    return train, held_out


def _has_times(data: "Interactions") -> bool:
    """Whether a split by time has something to go by."""
    return data.times is not None and len(data) > 1 and bool(data.times.min() != data.times.max())


def _time_text(seconds: Any) -> str:
    import pandas as pd

    return pd.Timestamp(int(seconds), unit="s").strftime("%Y-%m-%d %H:%M")
