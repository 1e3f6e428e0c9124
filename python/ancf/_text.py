"""Numbers, lists and small tables as plain text: how results and errors print themselves."""

from collections.abc import Sequence
from typing import Any


def format_number(value: float) -> str:
    """Four significant digits, without an exponent for the sizes that scores have."""
    return f"{value:.4g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.3e}"


def format_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], more: int = 0) -> str:
    """Aligned columns; floats to the right with four significant digits, and a last line where ``more`` rows exist.

    >>> print(format_table(["item", "score"], [["lamp", 0.25], ["cup", 10.0]], more=3))
    item  score
    lamp   0.25
    cup      10
    ... 3 more
    """
    cells = [[format_number(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
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


def format_value(value: Any, max_length: int = 60) -> str:
    """A value as a message shows it: as it would be typed if that is short, else its type and shape or its beginning.

    >>> format_value("lamp"), format_value(range(3)), format_value([0] * 1000)
    ("'lamp'", 'range(0, 3)', '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,...')
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} of the shape {shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


def format_list(values: Any, max_shown: int = 5) -> str:
    """The first values as they would be typed, and how many more there are.

    >>> format_list(["a", 7, 8], max_shown=2)
    "'a', 7 and 1 more"
    """
    shown = ", ".join(repr(value.item() if hasattr(value, "item") else value) for value in values[:max_shown])
    return shown if len(values) <= max_shown else f"{shown} and {len(values) - max_shown:,} more"
