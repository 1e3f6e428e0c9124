"""Pictures of the report as SVG inside the page: its font, its colors in light and dark, the same bytes each time.

Matplotlib draws with stand-ins for colors, which become the variables of ``page.css``. Texts stay texts. A picture is
as wide as a phone, so that its letters are readable there; on a wide screen it grows by half.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup, escape

from ancf.comparison.pairs import Difference, decides, lower_is_better
from ancf.comparison.report.texts import number, printable, shortened, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 380
"""Points, which are pixels on a phone."""
MAX_SERIES = 5
MARKERS = "–●■▲◆▼"
"""Of the series 0 to ``MAX_SERIES``, in the words of a legend."""
_SHAPES = ("", "o", "s", "^", "D", "v")
_FONT = 11.5
_MARGIN = 6
# Drawn with, and what it becomes.
_INK, _MUTED, _GRID, _PAPER = "#010203", "#020304", "#030405", "#040506"
_COLORS = (_INK, "#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005")
_VARIABLES = {
    _INK: "ink",
    _MUTED: "muted",
    _GRID: "rule",
    _PAPER: "paper",
    **{color: f"series-{series}" for series, color in enumerate(_COLORS) if series},
}


class Picture(NamedTuple):
    """One picture of the page."""

    svg: Markup
    legend: tuple[tuple[int, str, str], ...] = ()
    """Number of the color, marker and name of each line."""


class Line(NamedTuple):
    """A line of a picture."""

    series: int
    """Its color and marker, from 1; a model has the same in all pictures. 0 is a dashed line in the color of text."""
    y: Sequence[float | None]
    x: Sequence[float] = ()
    spread: Sequence[float | None] = ()
    """Half of the interval of each point."""


def forest(rows: Sequence[Difference], name: str) -> Picture:
    """Differences with their intervals, one below the other."""
    height = 42 * len(rows) + 58
    ends = [0.0, *(each.value for each in rows), *(end for each in rows for end in each.interval or ())]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.06 or 0.01
    words = ("worse", "better") if decides(rows[0].metric) else ("less", "more")
    if lower_is_better(rows[0].metric):
        words = ("better", "worse")
    said = "; ".join(f"{each.first} against {each.second} {_difference_text(each)}" for each in rows)
    with _figure(height) as figure:
        axes = _axes(figure, 10, 34, 10, 22)
        axes.set_xlim(low - room, high + room)
        axes.set_ylim(len(rows), 0)
        blue = _COLORS[1]
        for at, each in enumerate(rows):
            middle = at + 0.72
            axes.plot([0, 0], [at + 0.5, at + 0.94], color=_MUTED, linewidth=1, dashes=(3, 2))
            if each.interval is not None:
                axes.plot(each.interval, [middle, middle], color=blue, linewidth=2.2, solid_capstyle="round")
            inside = blue if each.more_than_luck else _PAPER
            axes.plot(
                [each.value], [middle], "o", color=blue, markersize=8, markeredgewidth=1.8, markerfacecolor=inside
            )
            across = {"transform": axes.get_yaxis_transform(), "va": "center"}
            axes.text(0, at + 0.3, shortened(each.first, 27), weight="bold", **across)
            axes.text(1, at + 0.3, _difference_text(each), ha="right", **across)
        axes.tick_params(left=False, labelleft=False)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(1, len(rows)))
        _few_ticks(axes.xaxis, 5)
        figure.text(10 / WIDTH, 1 - 12 / height, f"← {words[0]}", color=_MUTED, va="center")
        figure.text(1 - 10 / WIDTH, 1 - 12 / height, f"{words[1]} →", color=_MUTED, va="center", ha="right")
        return Picture(_svg(figure, name, f"Differences in {rows[0].metric} with their 95 % intervals: {said}."))


def groups(labels: Sequence[str], lines: Mapping[str, Line], name: str, metric: str, *, ordered: bool) -> Picture:
    """A metric by group of users: a line for each model, or rows of points where the groups have no order."""
    said = "; ".join(
        f"{model} " + ", ".join(f"{label} {number(each)}" for label, each in zip(labels, line.y, strict=True))
        for model, line in lines.items()
    )
    below = [_short_lines(each) for each in labels]
    bottom = 18 + 14 * max(each.count("\n") + 1 for each in below)
    with _figure(204 + bottom if ordered else 34 * len(labels) + 40) as figure:
        axes = _axes(figure, 44, bottom, 8, 10) if ordered else _axes(figure, 104, 32, 12, 8)
        for at, line in enumerate(lines.values()):
            places = [each + (at - (len(lines) - 1) / 2) * (0.11 if ordered else 0.15) for each in range(len(labels))]
            values = _with_gaps(line.y)
            spread = [each or 0.0 for each in line.spread]
            color = _COLORS[line.series]
            x, y = (places, values) if ordered else (values, places)
            whiskers = {"yerr" if ordered else "xerr": spread or None}
            axes.errorbar(x, y, fmt="none", ecolor=color, elinewidth=1, alpha=0.55, **whiskers)
            style = "-" if ordered else "none"
            mark = {"marker": _SHAPES[line.series], "markersize": 6, "clip_on": False}
            axes.plot(x, y, linestyle=style, color=color, linewidth=1.6, **mark)
        if ordered:
            axes.set_xlim(-0.5, len(labels) - 0.5)
            axes.set_xticks(range(len(labels)), below)
            axes.set_ylim(0, _top(axes.get_ylim()[1], lines))
            _few_ticks(axes.yaxis, 5)
        else:
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_yticks(range(len(labels)), [shortened(each, 16) for each in labels])
            axes.tick_params(left=False)
            axes.set_xlim(0, _top(axes.get_xlim()[1], lines))
            _few_ticks(axes.xaxis, 5)
        return Picture(_svg(figure, name, f"{metric} by group of customers. {said}."), _legend(lines))


def popularity_curves(lines: Mapping[str, Line], n_items: int, name: str, said: str) -> Picture:
    """The part of all purchases, and of all recommendations, that the best sellers have."""
    with _figure(270) as figure:
        axes = _axes(figure, 44, 42, 8, 14)
        axes.set_xscale("log")
        for line in lines.values():
            # A marker here and there tells the lines apart where colors do not.
            style: dict[str, Any] = {"linestyle": "-", "linewidth": 1.6, "markevery": max(1, len(line.x) // 6)}
            if not line.series:
                style = {"dashes": (4, 2), "linewidth": 2.2}
            shape = _SHAPES[line.series]
            axes.plot(line.x, _with_gaps(line.y), marker=shape, color=_COLORS[line.series], markersize=5.5, **style)
        axes.set_xlim(1, max(n_items, 2))
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        ticks = [10**power for power in range(9) if 10**power <= n_items]
        axes.set_xticks(ticks, [f"{each:,}" for each in ticks])
        axes.minorticks_off()
        axes.set_xlabel("so many of the best sellers", color=_MUTED)
        return Picture(_svg(figure, name, said), _legend(lines))


def learning(curves: Mapping[str, Sequence[float | None]], best_epoch: int | None, name: str, model: str) -> Picture:
    """What training recorded, epoch by epoch: losses in one panel, each metric in one of its own."""
    losses = [key for key in curves if key.endswith("loss")]
    panels = [each for each in (losses, *([key] for key in curves if key not in losses)) if each]
    said = "; ".join(
        f"{_curve_name(key)} from {values[0]:.4g} to {values[-1]:.4g}"
        for key, values in curves.items()
        if values[0] is not None and values[-1] is not None
    )
    n_epochs = max(len(each) for each in curves.values())
    kept = "" if best_epoch is None else f"; epoch {best_epoch} is kept"
    height = 132 * len(panels) + 4
    with _figure(height) as figure:
        for at, keys in enumerate(panels):
            top = 24 + 132 * at
            axes = _axes(figure, 54, height - top - 88, 8, top)
            for series, key in enumerate(keys, 1):
                style = {"marker": _SHAPES[series], "markersize": 3.5} if len(curves[key]) <= 30 else {}
                epochs = range(1, len(curves[key]) + 1)
                axes.plot(epochs, _with_gaps(curves[key]), "-", color=_COLORS[series], linewidth=1.6, **style)
            if best_epoch is not None:
                axes.axvline(best_epoch, color=_MUTED, linewidth=1, dashes=(3, 2))
            _few_ticks(axes.xaxis, 6, whole=True)
            _few_ticks(axes.yaxis, 3)
            names = [
                f"{MARKERS[each]} {_curve_name(key)}" if len(keys) > 1 else _curve_name(key)
                for each, key in enumerate(keys, 1)
            ]
            axes.set_title("   ".join(names), loc="left", fontsize=_FONT, color=_INK, pad=6)
        return Picture(_svg(figure, name, f"{model} over {n_epochs} epochs: {said}{kept}."))


# ---- drawing


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "ancf",
        "text.parse_math": False,
        "axes.formatter.useoffset": False,
        "axes.unicode_minus": True,
        "font.size": _FONT,
        "text.color": _INK,
        "axes.edgecolor": _MUTED,
        "xtick.color": _MUTED,
        "ytick.color": _MUTED,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        "axes.linewidth": 0.8,
        "path.simplify": False,
    }
    # The page's font has what the one that measures lacks.
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        yield Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")


def _axes(figure: "Figure", left: float, bottom: float, right: float, top: float) -> "Axes":
    """Axes with these margins, in points, with light lines across and without a frame."""
    height = figure.get_figheight() * 72
    axes = figure.add_axes(
        (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - bottom - top) / height),
        facecolor="none",
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _top(found: float, lines: Mapping[str, Line]) -> float:
    """The end of an axis: what is never above 1 has no interval there either."""
    is_share = all(each is None or each <= 1 for line in lines.values() for each in line.y)
    return min(found, 1.02) if is_share else found


def _few_ticks(axis: "Axis", most: int, *, whole: bool = False) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=whole))


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if each is None else each for each in values]


def _legend(lines: Mapping[str, Line]) -> tuple[tuple[int, str, str], ...]:
    return tuple((line.series, MARKERS[line.series], name) for name, line in lines.items())


def _svg(figure: "Figure", name: str, said: str) -> Markup:
    """The drawing as an element of a page: ids of its own, variables for colors, and what it says in words."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = BytesIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(file, metadata=no_metadata)
    text = file.getvalue().decode()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    text = re.sub(r"^.*?<svg[^>]*>", "", text, flags=re.DOTALL)
    text = re.sub(r"<(metadata|style)\b.*?</\1>\s*|<defs>\s*</defs>\s*|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    # Older versions write "font: 700 11px 'Family', ...", newer ones a property each.
    text = re.sub(r"font: (?:(bold|\d+) )?([\d.]+px) [^;\"]*", _font_style, text)
    text = re.sub(r"font-family: [^;\"]*;? *| transform=\"rotate\(-0 [^)]*\)\"", "", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    return Markup(f'<svg {box[0]} role="img" aria-label="{escape(printable(said))}">{text.strip()}')


def _font_style(found: re.Match[str]) -> str:
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"


def _difference_text(each: Difference) -> str:
    interval = "" if each.interval is None else f" ({signed(each.interval[0])} to {signed(each.interval[1])})"
    return f"{signed(each.value)}{interval}"


def _curve_name(key: str) -> str:
    return key.replace("_", " ")


def _short_lines(label: str) -> str:
    """A label of several words on up to three short lines."""
    lines: list[str] = []
    for word in shortened(label, 26).split(" "):
        if lines and len(lines[-1]) + len(word) < 10:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines[:3])
