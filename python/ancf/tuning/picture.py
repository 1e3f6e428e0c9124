"""What mattered as a picture: how much each option did, and every trial by the options that did most.

SVG whose text is text, so that it can be read aloud, searched and scaled. The same trials give the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ancf.atomic_file import atomic_write
from ancf.errors import MissingExtraError
from ancf.search_space import Categorical, Dimension, SearchSpace
from ancf.tuning.trial import Trial

_MAX_OPTIONS = 3
# Dark on white, and told apart in gray and by the color-blind (Okabe and Ito 2008).
_POINT, _BEST, _INK = "#0072B2", "#D55E00", "#222222"


def draw(
    path: Path,
    *,
    model: str,
    metric: str,
    trials: Sequence[Trial],
    best: Trial,
    space: SearchSpace,
    given: Mapping[str, Any],
    importance: Mapping[str, float],
) -> None:
    """Write the picture.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("a picture needs Matplotlib. Run: pip install 'ancf[tune]'.") from None
    complete = [trial for trial in trials if trial.value is not None]
    names = list(importance or space)
    options = names[:_MAX_OPTIONS]
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "ancf", "font.size": 9, "text.color": _INK}
    with rc_context(style):
        figure = Figure(figsize=(3.4 * (1 + len(options)), 3.4), layout="constrained")
        axes = figure.subplots(1, 1 + len(options), squeeze=False)[0]
        _draw_importance(axes[0], names, importance, metric)
        for axis, name in zip(axes[1:], options, strict=True):
            _draw_option(axis, name, space[name], complete, best, given)
        axes[1].set_ylabel(metric)
        axes[1].legend(fontsize=8, frameon=False)
        figure.suptitle(f"{model}: {metric} of {len(complete)} settings on the validation part", fontsize=10)
        with atomic_write(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None, "Title": f"What mattered for {model}"})


def _draw_importance(axis: Any, names: list[str], importance: Mapping[str, float], metric: str) -> None:
    if not importance:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "Too few trials to say\nwhat mattered", ha="center", va="center")
        return
    shares = [100 * importance[name] for name in names]
    axis.barh(names, shares, color=_POINT)
    axis.invert_yaxis()
    for at, share in enumerate(shares):
        axis.text(share + 1, at, f"{share:.0f} %", va="center")
    axis.set_xlim(0, max(shares) * 1.3 + 5)
    axis.set_title("What mattered", fontsize=9)
    axis.set_xlabel(f"part of the spread of {metric}, in %")
    axis.spines[["top", "right"]].set_visible(False)


def _draw_option(
    axis: Any, name: str, dimension: Dimension, trials: list[Trial], best: Trial, given: Mapping[str, Any]
) -> None:
    """Each trial at the value of one option; what the model chooses itself ("auto") has no place among numbers."""
    points = [(trial.params.get(name, given.get(name)), trial.value, trial is best) for trial in trials]
    if isinstance(dimension, Categorical):
        words = list(dict.fromkeys(map(str, [*dimension.choices, *(setting for setting, _, _ in points)])))
        points = [(words.index(str(setting)), value, is_best) for setting, value, is_best in points]
        axis.set_xticks(range(len(words)), words)
        axis.set_xlim(-0.5, len(words) - 0.5)
    else:
        points = [each for each in points if isinstance(each[0], (int, float)) and not isinstance(each[0], bool)]
        axis.set_xscale("log" if dimension.log else "linear")
    for of_best, color, marker, size, label in (
        (False, _POINT, "o", 18, "a trial"),
        (True, _BEST, "*", 90, "the best"),
    ):
        marked = [(setting, value) for setting, value, is_best in points if is_best is of_best]
        if marked:
            axis.scatter(*zip(*marked, strict=True), color=color, marker=marker, s=size, label=label, zorder=3)
    axis.set_xlabel(name)
    axis.grid(color="#dddddd", linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)
