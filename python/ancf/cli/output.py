"""Results as a table for people, or as JSON, JSON lines, CSV or Parquet for programs; to stdout or a file."""

import csv
import functools
import io
import json
import math
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from ancf.cli.command import Failure, Function, Option, with_options
from ancf.cli.options import check_writable

if TYPE_CHECKING:
    from ancf.scoring.results import Explanation

FORMATS = ("table", "json", "jsonl", "csv", "parquet")
REPORT_FORMATS = (*FORMATS, "html")
_SECTION = "Output"
_MAX_REASONS = 3
_SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".txt": "table",
    ".html": "html",
    ".htm": "html",
}


def output_options(function: Function) -> Function:
    """``--format`` and ``--output``; what is wrong with them is said before anything is computed."""
    return _output_options(function, FORMATS)


def report_options(function: Function) -> Function:
    """``output_options`` of a command that writes a page for a browser, too."""
    return _output_options(function, REPORT_FORMATS)


def _output_options(function: Function, formats: Sequence[str]) -> Function:
    @functools.wraps(function)
    def checked(*arguments: Any, output_format: str | None, output: str, **options: Any) -> Any:
        chosen_format(output_format, output, formats=formats)
        if output != "-":
            check_writable(output)
        return function(*arguments, output_format=output_format, output=output, **options)

    format_option = Option(
        ["--format", "-f", "output_format"],
        type=click.Choice(formats),
        section=_SECTION,
        help="How the result is written. [by the ending of --output, else table]",
    )
    output_option = Option(
        ["--output", "-o"],
        metavar="FILE",
        default="-",
        section=_SECTION,
        help="Where the result goes; - is stdout. [-]",
        from_environment=False,
    )
    return with_options(cast("Function", checked), [format_option, output_option])


def chosen_format(
    output_format: str | None, output: str, otherwise: str = "table", formats: Sequence[str] = FORMATS
) -> str:
    """The format that the file's name ends in, else the one asked for, else ``otherwise``.

    A name is typed for this very call, so it goes before a format from the environment or a file; a format that is
    typed beside it must be the same. Any text may go into a file that ends in .txt.

    Raises
    ------
    Failure
        If the name ends in something else and no format is given, or in another format than the one typed.
    """
    suffixes = [] if output == "-" else Path(output.lower()).suffixes
    compressed = suffixes[-1:] == [".gz"]
    suffix = (["", *suffixes[:-1]] if compressed else ["", *suffixes])[-1]
    endings = {ending: name for ending, name in _SUFFIXES.items() if name in formats}
    by_name = endings.get(suffix)
    ctx = click.get_current_context(silent=True)
    source = ctx.get_parameter_source("output_format") if ctx is not None else None
    typed = output_format if source is click.core.ParameterSource.COMMANDLINE else None
    if by_name is None and output_format is None and suffix and _is_named(output):
        raise Failure(f"{output}: the ending {suffix} names no format. Use {', '.join(endings)}, or give --format.", 2)
    if typed is not None and by_name not in (None, typed) and not (suffix == ".txt" and typed != "parquet"):
        near = next(ending for ending, name in endings.items() if name == typed)
        raise Failure(
            f"--format {typed} and the name {output} contradict each other. Leave --format out, or let the name end in "
            f"{near}.",
            2,
        )
    kind = typed or by_name or output_format or otherwise
    if compressed and kind == "parquet":
        raise Failure(f"{output}: a Parquet file is compressed by itself. Let its name end in .parquet.", 2)
    return kind


def _is_named(output: str) -> bool:
    """Whether a person chose the name: a pipe's or a device's says nothing about a format."""
    from ancf.atomic_file import replaced_file

    try:
        return replaced_file(Path(output)) is not None
    except OSError:
        return True


@contextmanager
def open_output(output: str, output_format: str) -> Iterator[IO[bytes]]:
    """Where the bytes of a result go; a file is the old one or the new one, compressed if its name ends in .gz.

    Raises
    ------
    Failure
        If the place cannot be written to, or Parquet would go to a terminal.
    """
    if output == "-":
        if output_format == "parquet" and sys.stdout.isatty():
            raise Failure("a Parquet file cannot be shown in a terminal. Add -o recs.parquet.", 2)
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from ancf.atomic_file import atomic_write
    from ancf.scoring.sinks import gzip_stream

    check_writable(output)
    sys.stdout.flush()
    with atomic_write(Path(output)) as file:
        if not output.lower().endswith(".gz"):
            yield file
            return
        with gzip_stream(file) as compressing:
            yield compressing


def write_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    output_format: str | None,
    output: str,
    heading: str = "",
    document: Any = None,
    shown: Sequence[int] | None = None,
) -> None:
    """Write one table.

    Parameters
    ----------
    columns, rows
    heading : str
        Stands above a table for people.
    document : JSON-able, optional
        What ``--format json`` writes instead of a list of rows.
    shown : positions of the columns that a table for people has; all if left out
    """
    kind = chosen_format(output_format, output)
    if kind == "table":
        places = range(len(columns)) if shown is None else shown
        text = text_table([columns[at] for at in places], [[row[at] for at in places] for row in rows], output == "-")
        write_text("\n".join(part for part in (printable(heading, "\n"), text) if part) + "\n", output)
        return
    with open_output(output, kind) as file:
        if kind == "json":
            content = document if document is not None else [dict(zip(columns, row, strict=True)) for row in rows]
            file.write((json_text(content, indent=2) + "\n").encode("utf-8", "surrogatepass"))
        elif kind == "jsonl":
            for row in rows:
                line = json_text(dict(zip(columns, row, strict=True)))
                file.write((line + "\n").encode("utf-8", "surrogatepass"))
        elif kind == "csv":
            buffer = io.StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([["" if cell is None else _flat(cell) for cell in row] for row in rows])
            file.write(buffer.getvalue().encode("utf-8", "surrogatepass"))
        else:
            _parquet(columns, rows, file)


def print_note(text: str = "") -> None:
    """A line on stderr: what happens, not what comes out; wrapped where that is a terminal."""
    if sys.stderr.isatty():
        text = textwrap.fill(text, terminal_width() - 1, subsequent_indent="  ", break_on_hyphens=False)
    click.echo(text, err=True)


def with_decimal_scores(rows: Iterable[Any]) -> list[list[Any]]:
    """Rows of recommendations with each score as the shortest decimal that is the same float32, as in files."""
    import numpy as np

    return [[*row[:2], float(str(np.float32(row[2]))), *row[3:]] for row in rows]


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in which NaN and infinities are null, and ids of any kind are text or numbers."""
    return json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each) for each in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def _flat(cell: Any) -> Any:
    return json_text(cell) if isinstance(cell, (list, tuple, Mapping)) else cell


def _parquet(columns: Sequence[str], rows: Sequence[Sequence[Any]], file: IO[bytes]) -> None:
    from ancf.errors import MissingExtraError

    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError(
            "--format parquet needs pyarrow. Run: pip install 'ancf[arrow]', or take csv or jsonl."
        ) from None
    data = {}
    for at, name in enumerate(columns):
        values = [_flat(_jsonable(row[at])) for row in rows]
        kinds = {type(each) for each in values if each is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:
            values = [None if each is None else str(each) for each in values]
        data[name] = pa.array(values, pa.string() if not kinds else None)
    pq.write_table(pa.table(data), file)


# ---- tables for people


def printable(text: str, kept: str = "") -> str:
    """Text from outside without the characters that control a terminal."""
    return "".join(letter if letter.isprintable() or letter in kept else "�" for letter in text)


def cell_text(cell: Any) -> str:
    """One cell: four significant digits, a dash for nothing."""
    from ancf import _text

    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return printable(_text.format_number(cell) if isinstance(cell, float) else str(cell))


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], to_stdout: bool = True) -> str:
    """Aligned columns; in a terminal no wider than it, the longest texts cut."""
    from rich.cells import cell_len, set_cell_size

    if not rows:
        return ""
    cells = [[cell_text(cell) for cell in row] for row in rows]
    right = [
        all(isinstance(row[at], (int, float)) or row[at] is None for row in rows)
        and any(row[at] is not None for row in rows)
        for at in range(len(columns))
    ]
    widths = [max(cell_len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]
    if to_stdout and sys.stdout.isatty():
        _narrow(widths, right, terminal_width())

    def line(row: Sequence[str]) -> str:
        parts = []
        for text, width, to_right in zip(row, widths, right, strict=True):
            if cell_len(text) > width:
                text = set_cell_size(text, max(width - 1, 0)) + "…"
            gap = " " * (width - cell_len(text))
            parts.append(gap + text if to_right else text + gap)
        return "  ".join(parts).rstrip()

    head = line(list(columns))
    if to_stdout and sys.stdout.isatty():
        head = click.style(head, bold=True)
    return "\n".join([head, *map(line, cells)])


def reasons_text(why: "Explanation", indent: int = 4) -> list[str]:
    """The purchases that contribute to a recommendation, with their part of what does, wrapped for 80 columns."""
    contributing = [each for each in why.reasons if each.contribution > 0]
    whole = sum(each.contribution for each in contributing) + sum(value for value in why.base.values() if value > 0)
    if whole <= 0:
        return [" " * indent + "nothing in the history contributes to it"]
    parts = [
        f"{printable(str(each.name or each.item_id).strip())} ({each.contribution / whole:.0%})"
        for each in contributing[:_MAX_REASONS]
    ]
    parts += [f"{label} ({value / whole:.0%})" for label, value in why.base.items() if value > 0]
    more = len(contributing) - _MAX_REASONS
    if more > 0:
        rest = sum(each.contribution for each in contributing[_MAX_REASONS:]) / whole
        parts.append(f"{more} more ({rest:.0%})")
    text = "because of " + ", ".join(parts)
    return textwrap.wrap(text, 78, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))


def terminal_width() -> int:
    """The columns of the terminal."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def _narrow(widths: list[int], right: list[bool], max_width: int) -> None:
    """Take from the widest texts until the line fits."""
    while sum(widths) + 2 * (len(widths) - 1) > max_width:
        at = max(range(len(widths)), key=lambda each: 0 if right[each] else widths[each])
        if right[at] or widths[at] <= 8:
            return
        widths[at] -= 1


def wrapped(text: str) -> str:
    """Lines no wider than the terminal, where there is one; what runs over is indented below its line."""
    if not sys.stdout.isatty():
        return text
    lines = []
    for line in text.split("\n"):
        margin = " " * (len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(line, terminal_width(), subsequent_indent=margin, break_on_hyphens=False) or [""]
    return "\n".join(lines)


def write_text(text: str, output: str) -> None:
    """Text for people, to stdout or a file."""
    if output == "-":
        click.echo(text, nl=False)
        return
    with open_output(output, "table") as file:
        file.write(text.encode("utf-8", "surrogatepass"))
