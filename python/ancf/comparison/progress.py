"""What is done and what is left, while models are fitted: a table in a terminal, else a line for each model."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ancf.comparison.running import Outcome

if TYPE_CHECKING:
    from rich.table import Table

_PER_SECOND = 4


class Progress:
    """Is told what happens; this one shows nothing."""

    def start(self, name: str) -> None:
        """A model begins."""

    def finish(self, name: str, outcome: Outcome) -> None:
        """A model has an outcome."""


@contextlib.contextmanager
def watch(
    names: Sequence[str], metrics: Sequence[str], timeout_s: float | None, show_progress: bool | None
) -> Iterator[Progress]:
    """The way that ``show_progress`` of ``compare`` asks for."""
    if show_progress is False or (show_progress is None and not sys.stderr.isatty()):
        yield Progress()
        return
    if not sys.stderr.isatty():
        yield _Lines(metrics)
        return
    from rich.console import Console
    from rich.live import Live

    table = _Table(names, metrics, timeout_s)
    with Live(
        get_renderable=table.render, console=Console(stderr=True), refresh_per_second=_PER_SECOND, transient=True
    ):
        yield table


class _Lines(Progress):
    """For logs: what became of each."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self.metrics = metrics

    def finish(self, name: str, outcome: Outcome) -> None:
        print(f"{name}: {_outcome_text(outcome, self.metrics)}", file=sys.stderr, flush=True)


class _Table(Progress):
    """All models, with what each is doing and about how long the rest takes."""

    def __init__(self, names: Sequence[str], metrics: Sequence[str], timeout_s: float | None) -> None:
        self.names, self.metrics, self.timeout_s = names, metrics, timeout_s
        self.texts: dict[str, str] = {}
        self.running: str | None = None
        self.began = self.began_model = time.monotonic()

    def start(self, name: str) -> None:
        self.running, self.began_model = name, time.monotonic()

    def finish(self, name: str, outcome: Outcome) -> None:
        self.running, self.texts[name] = None, _outcome_text(outcome, self.metrics)

    def render(self) -> "Table":
        """What stands in the terminal now."""
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in self.names:
            if name == self.running:
                table.add_row(Text(name, "bold"), f"{_duration(now - self.began_model)} …")
            else:
                table.add_row(
                    Text(name, "" if name in self.texts else "dim"), Text(self.texts.get(name, "waiting"), "dim")
                )
        table.add_row("", Text(self.state(now), "dim"))
        return table

    def state(self, now: float) -> str:
        """How far it is."""
        done, spent = len(self.texts), now - self.began
        text = f"{done} of {len(self.names)} done in {_duration(spent)}"
        left = []
        if done:
            # The models that have finished are a guess at the others; a running one has had its part.
            each = (self.began_model - self.began if self.running else spent) / done
            waiting = len(self.names) - done - (self.running is not None)
            running = max(each - (now - self.began_model), 0.0) if self.running else 0.0
            # One that takes longer than those before it says nothing about the time left.
            if waiting * each + running > 0:
                left.append(f"about {_duration(waiting * each + running)} left")
        if self.timeout_s is not None and done < len(self.names):
            rest = (len(self.names) - done) * self.timeout_s - (now - self.began_model if self.running else 0.0)
            left.append(f"at most {_duration(max(rest, 0.0))}")
        return "; ".join([text, ", ".join(left)]) if left else text


def _outcome_text(outcome: Outcome, metrics: Sequence[str]) -> str:
    if outcome.evaluation is None:
        return f"{outcome.status}: {outcome.message}"
    measured = next((each for each in metrics if each in outcome.evaluation), None)
    figure = "" if measured is None else f"{measured} {outcome.evaluation[measured]:.4f}, "
    seconds: Any = [
        f"{word} {_duration(value)}"
        for word, value in (
            ("tuned in", outcome.tune_seconds),
            ("fitted in", outcome.fit_seconds),
            ("lists in", outcome.evaluation.seconds),
        )
        if value is not None
    ]
    return figure + ", ".join(seconds)


def _duration(seconds: float) -> str:
    """Seconds below a minute and a half, minutes and hours above."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
