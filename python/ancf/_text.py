"""Small tables as plain text: how results print themselves."""

from collections.abc import Sequence
from typing import Any


def number(value: float) -> str:
    """Four significant digits, without an exponent for the sizes that scores have."""
    return f"{value:.4g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.3e}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], more: int = 0) -> str:
    """Aligned columns; floats to the right with four significant digits, ``more`` rows announced at the end.

    >>> print(table(["item", "score"], [["lamp", 0.25], ["cup", 10.0]], more=3))
    item  score
    lamp   0.25
    cup      10
    ... 3 more
    """
    cells = [[number(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[at], (int, float)) for row in rows) for at in range(len(columns))]
    widths = [max(len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [line(list(columns)), *(line(row) for row in cells)]
    if more:
        lines.append(f"... {more:,} more")
    return "\n".join(lines)


def listed(values: Any, most: int = 5) -> str:
    """The first few values as they would be typed, and how many more there are.

    >>> listed(["a", 7, 8], most=2)
    "'a', 7 and 1 more"
    """
    shown = ", ".join(repr(value.item() if hasattr(value, "item") else value) for value in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most:,} more"
