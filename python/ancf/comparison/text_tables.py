"""The tables of a comparison as text and as plain HTML."""

import html
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ancf import _text
from ancf.comparison.pairs import Difference
from ancf.comparison.running import Outcome
from ancf.comparison.sentence import format_difference, format_p

Table: TypeAlias = tuple[list[str], list[list[str]]]
"""The headings, and the cells of each row."""
Interval: TypeAlias = tuple[float, float] | None


def difference_table(rows: Sequence[Difference], what: str, over: str) -> Table:
    """Each difference with its interval, p-value and balance of users."""
    table = []
    for each in rows:
        interval = "–" if each.interval is None else " to ".join(map(format_difference, each.interval))
        balance = f"{each.won}:{each.lost}:{each.tied}"
        table.append([each.first, each.second, format_difference(each.value), interval, format_p(each.p), balance])
    return aligned([what, over, "differs", "95 % interval", "p", "won:lost:same"], table, 2)


def cost_table(metric: str, outcomes: Mapping[str, Outcome], intervals: Mapping[str, Interval]) -> Table:
    """The interval of each model's figure, seconds and sizes; without columns that nobody has."""
    columns: list[tuple[str, list[str]]] = [
        ("model", list(outcomes)),
        (f"{metric}, 95 % interval", [_interval_text(intervals[name]) for name in outcomes]),
        ("tune s", [_seconds_text(each.tune_seconds) for each in outcomes.values()]),
        ("fit s", [_seconds_text(each.fit_seconds) for each in outcomes.values()]),
        (
            "lists s",
            [_seconds_text(None if each.evaluation is None else each.evaluation.seconds) for each in outcomes.values()],
        ),
        ("file MB", [_size_text(each.model_bytes) for each in outcomes.values()]),
        ("memory MB", [_size_text(each.peak_bytes) for each in outcomes.values()]),
    ]
    kept = [(name, cells) for name, cells in columns if name in ("model", "fit s") or any(c != "–" for c in cells)]
    rows = [list(row) for row in zip(*(cells for _, cells in kept), strict=True)]
    return aligned([name for name, _ in kept], rows)


def value_table(metrics: Sequence[str], names: Sequence[str], values: Mapping[str, Mapping[str, float]]) -> Table:
    """The figures: metric → model → value."""
    rows: list[list[str]] = []
    for name in names:
        found = (values[metric].get(name) for metric in metrics)
        rows.append([name, *("–" if value is None else f"{value:.4f}" for value in found)])
    return aligned(["model", *metrics], rows)


def aligned(columns: list[str], rows: list[list[str]], first: int = 1) -> Table:
    """Numbers as text to the right of their column, from the column ``first`` on."""
    widths = [max(len(line[at]) for line in [columns, *rows]) for at in range(len(columns))]
    to_right = [
        [cell if at < first else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]
    return [name if at < first else name.rjust(widths[at]) for at, name in enumerate(columns)], to_right


def parts(columns: list[str], rows: list[list[str]], width: int) -> list[str]:
    """A table as text; its columns in several tables, each with the names, where they do not fit the width."""
    columns, rows = shortened(columns, rows, width, n_names=1)
    wide = [max(len(line[at]) for line in [columns, *rows]) + 2 for at in range(len(columns))]
    groups: list[list[int]] = [[]]
    for at in range(1, len(columns)):
        if groups[-1] and wide[0] + sum(wide[each] for each in groups[-1]) + wide[at] - 2 > width:
            groups.append([])
        groups[-1].append(at)
    return [
        _text.format_table([columns[at] for at in [0, *group]], [[row[at] for at in [0, *group]] for row in rows])
        for group in groups
    ]


def shortened(columns: list[str], rows: list[list[str]], width: int, n_names: int = 2) -> Table:
    """With the middle of long names left out, so that the line fits where it can."""
    numbers = sum(2 + max(len(line[at]) for line in [columns, *rows]) for at in range(n_names, len(columns)))
    room = max((width - numbers) // n_names - 2 + 2 // n_names, 8) if n_names > 1 else width // 2

    def short(name: str) -> str:
        half = (room - 1) // 2
        return name if len(name) <= room else f"{name[: room - 1 - half]}…{name[len(name) - half :]}"

    return columns, [[*map(short, row[:n_names]), *row[n_names:]] for row in rows]


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(each.strip())}</th>" for each in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell.strip())}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _seconds_text(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f}"


def _size_text(n_bytes: int | None) -> str:
    return "–" if n_bytes is None else f"{n_bytes / 1e6:.1f}"
