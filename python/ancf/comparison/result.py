"""``Comparison``: what several models reached on the same users, and which differences are more than luck."""

import html
import textwrap
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ancf import _text
from ancf.atomic_file import atomic_write
from ancf.comparison.document import difference_document, model_document, plain, slice_document
from ancf.comparison.measured_models import MeasuredModels
from ancf.comparison.pairs import Difference
from ancf.comparison.statistics import CONFIDENCE, N_RESAMPLES
from ancf.comparison.text_tables import Table, cost_table, difference_table, html_table, parts, shortened, value_table

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 80


class Comparison(MeasuredModels):
    """What ``compare`` found: a mapping model's name → ``Evaluation``, in the order given, that prints as tables.

    The figures of a table are means over the same users for all models. ``docs/comparing.md`` says what each column
    means and how the tests work. ``print(result.sentence)`` is the short form.

    Attributes
    ----------
    sentence : str, who won, by how much, and whether that is more than luck; ``summary()`` is the same
    metric : str, the metric that decides: the first that says how good lists are (coverage, novelty and their like
        describe lists, and decide nothing)
    baseline : str or None, the model that all are held against beside the best
    outcomes : dict, name → what became of everybody, also of those without an evaluation
    failures : dict, name → why a model has no row
    fit_seconds : dict, name → seconds, or None for what was fitted already
    evaluate_seconds : dict, name → seconds of making the lists and measuring them
    models : dict, name → the fitted model
    interrupted : bool, whether Ctrl-C ended it early
    notes : list of str, what is worth knowing about the users measured
    slices : dict, name → groups of the users: by history, by popularity of what they bought, by category
    over : dict or None, for pieces of a model: name → the piece it is added to
    """

    # ---- for programs

    def to_pandas(self) -> "pd.DataFrame":
        """One row for each model, in the order given, also for those without a result.

        ``model``; a column for each metric, empty where a model has none; ``low`` and ``high``, the 95 % interval of
        the metric that decides; ``difference`` to the best other model and ``p``, the larger of the two corrected
        p-values; ``tune_s``, ``fit_s``, ``evaluate_s``; ``model_mb``, ``memory_mb``; ``status``.

        Returns
        -------
        DataFrame

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2, 3, 4, 4, 5], item=["a", "a", "c", "d", "d", "f", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "f"])
        >>> result = ancf.compare(["popular", "item-knn"], data, test, "hit@1")
        >>> result.to_pandas()["status"].tolist()
        ['done', 'done']
        """
        import pandas as pd

        rows = []
        against = {each.first: each for each in self._testable(self.differences)}
        for name, each in self.outcomes.items():
            interval = self._figures[self.metric].intervals.get(name) or (None, None)
            gap = against.get(name)
            rows.append(
                {
                    "model": name,
                    **{metric: self._figures[metric].values.get(name) for metric in self.metrics},
                    "low": interval[0],
                    "high": interval[1],
                    "difference": None if gap is None else gap.value,
                    "p": None if gap is None else gap.p,
                    "tune_s": each.tune_seconds,
                    "fit_s": each.fit_seconds,
                    "evaluate_s": None if each.evaluation is None else each.evaluation.seconds,
                    "model_mb": _megabytes(each.model_bytes),
                    "memory_mb": _megabytes(each.peak_bytes),
                    "status": self.failures.get(name, "done"),
                }
            )
        frame = pd.DataFrame(rows)
        numbers = [column for column in frame.columns if column not in ("model", "status")]
        return frame.astype(dict.fromkeys(numbers, "float64"))

    def per_user(self, metric: str | None = None) -> "pd.DataFrame":
        """One row for each user measured: ``user_id`` and a column for each model.

        Parameters
        ----------
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        DataFrame

        Raises
        ------
        InvalidParameterError
            If it was not measured.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2, 3, 4, 4, 5], item=["a", "a", "c", "d", "d", "f", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "f"])
        >>> result = ancf.compare(["popular", "item-knn"], data, test, "hit@1")
        >>> result.per_user().columns.tolist()
        ['user_id', 'Popular', 'ItemKNN']
        """
        import pandas as pd

        name = metric or self.metric
        self._of(name)
        columns = {model: each.per_user[name] for model, each in self.items() if name in each.per_user}
        users: Any = next(iter(self.values())).user_ids if self else []
        return pd.DataFrame({"user_id": users, **columns})

    def to_dict(self) -> dict[str, Any]:
        """Everything in numbers, text, lists and dictionaries, for JSON and reports; NaN is None.

        ``sentence``, ``metric``, ``metrics``, ``baseline``, ``best``, ``interrupted``, ``notes``; ``users`` and what
        was left out; ``models``, one dictionary each with values, intervals, seconds, sizes, options and what training
        recorded; ``differences``, every pair on every metric; ``slices``, means by group of users; ``about``, the
        tables, versions and how it was measured.

        Returns
        -------
        dict

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2, 3, 4, 4, 5], item=["a", "a", "c", "d", "d", "f", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "f"])
        >>> result = ancf.compare(["popular", "item-knn"], data, test, "hit@1")
        >>> result.to_dict()["best"]
        'ItemKNN'
        """
        first = next(iter(self.values()), None)
        document = {
            "sentence": self.sentence,
            "metric": self.metric,
            "metrics": list(self.metrics),
            "baseline": self.baseline,
            "best": self.best() if self._figures[self.metric].values else None,
            "interrupted": self.interrupted,
            "notes": self.notes,
            "users": self.n_users,
            "unknown_users": None if first is None else first.n_unknown_users,
            "unknown_items": None if first is None else first.n_unknown_items,
            "known_pairs": None if first is None else first.n_known_pairs,
            "models": [
                model_document(name, each, self._figures, ours=name in self._ours)
                for name, each in self.outcomes.items()
            ],
            "differences": [
                difference_document(each) for figures in self._figures.values() for each in figures.differences.values()
            ],
            "over": self.over,
            "slices": {name: slice_document(each, self) for name, each in self.slices.items()},
            "about": {
                **self._about,
                "confidence": CONFIDENCE,
                "resamples": N_RESAMPLES,
                "tests": ["paired t", "Wilcoxon signed-rank"],
                "correction": "Holm, over all pairs of models for each metric",
            },
        }
        found: dict[str, Any] = plain(document)
        return found

    @overload
    def to_html(self, path: None = None, *, command: str | None = None) -> str: ...

    @overload
    def to_html(self, path: str | PathLike[str], *, command: str | None = None) -> None: ...

    def to_html(self, path: str | PathLike[str] | None = None, *, command: str | None = None) -> str | None:
        """The report: one page that needs nothing else, for a browser, a phone or a printer.

        The sentence, the figures, the differences with their intervals, groups of customers, what is recommended
        against what is bought, a few real customers with the reasons for their lists, learning curves, what was left
        out of the data, how it was split, and what repeats it. The customers need the models (``keep_models=True``).

        Parameters
        ----------
        path : where the page goes, complete or not at all; left out, it is returned as text
        command : str, optional
            What was typed to make it, to stand in the report.

        Returns
        -------
        str or None
            The page; None where it is written to ``path``.

        Raises
        ------
        MissingExtraError
            If jinja2 or matplotlib is not installed: ``pip install 'ancf[report]'``.
        OSError
            If it cannot be written.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> page = ancf.compare(["popular", ancf.ItemKNN()], data, test).to_html()
        >>> page.splitlines()[0]
        '<!doctype html>'
        """
        from ancf.comparison.report import Material, cut_off, render

        first = next(iter(self.values()), None)
        page = render(
            Material(
                document=self.to_dict(),
                order=self._order(),
                ranking=self.ranking(),
                against_best=self._testable(self.differences),
                against_baseline=self._to_baseline(),
                models=self.models,
                listed={
                    name: items
                    for name, each in self.items()
                    if (items := each.listed_items(cut_off(self.metric))) is not None
                },
                user_ids=np.empty(0, np.int64) if first is None else first.user_ids,
                tables=self._tables,
                command=command,
                failures=self.failures,
            )
        )
        if path is None:
            return page
        with atomic_write(Path(path)) as file:
            file.write(page.encode())
        return None

    # ---- for people

    def __repr__(self) -> str:
        return "\n\n".join(self.blocks())

    def blocks(self, width: int = _WIDTH) -> list[str]:
        """What it prints: tables of figures, differences and costs, what is worth knowing, and the sentence."""
        columns, rows = self._value_table()
        found = ["\n".join(parts(columns, rows, width))]
        for title, table in self._difference_tables():
            found.append(f"{title}\n{_text.format_table(*shortened(*table, width))}")
        found.append("\n".join(parts(*self._cost_table(), width)))
        more = [*(f"{name}: {why}" for name, why in self.failures.items()), *self.notes]
        if self.interrupted:
            more.append("interrupted: these are the models that had finished")
        if more:
            found.append("\n".join(textwrap.fill(each, width, subsequent_indent="  ") for each in more))
        return [*found, textwrap.fill(self.sentence, width, break_on_hyphens=False)]

    def _order(self) -> list[str]:
        """Pieces in their order, else the best first, those without the metric behind them."""
        if self.over is not None:
            return list(self)
        ranked = self.ranking()
        return [*ranked, *(name for name in self if name not in ranked)]

    def _value_table(self) -> Table:
        return value_table(self.metrics, self._order(), {name: each.values for name, each in self._figures.items()})

    def _cost_table(self) -> Table:
        names = self._order()
        intervals = {name: self.interval(name) for name in names}
        return cost_table(self.metric, {name: self.outcomes[name] for name in names}, intervals)

    def _difference_tables(self) -> list[tuple[str, Table]]:
        found = []
        shown = self._testable(self.differences)
        if self.over is not None:
            if shown:
                found.append((f"{self.metric}: what each piece adds", difference_table(shown, "piece", "over")))
            return found
        if shown:
            title = f"{self.metric} against the best of the other models"
            found.append((title, difference_table(shown, "model", "against")))
        if rows := self._to_baseline():
            title = f"{self.metric} against the baseline"
            found.append((title, difference_table(rows, "model", "against")))
        return found

    def _to_baseline(self) -> list[Difference]:
        baseline = self.baseline
        if baseline is None or baseline not in self._figures[self.metric].values:
            return []
        others = [name for name in self.ranking() if name != baseline]
        return self._testable(lambda: [self.difference(name, baseline) for name in others])

    def _repr_html_(self) -> str:
        shown = [f"<p><b>{html.escape(self.sentence)}</b></p>"]
        shown.append(html_table(*self._value_table()))
        for title, rows in self._difference_tables():
            shown += [f"<p>{html.escape(title)}</p>", html_table(*rows)]
        shown.append(html_table(*self._cost_table()))
        more = [*(f"{name}: {why}" for name, why in self.failures.items()), *self.notes]
        shown += [f"<p>{html.escape(each)}</p>" for each in more]
        return "\n".join(shown)


def _megabytes(n_bytes: int | None) -> float | None:
    return None if n_bytes is None else n_bytes / 1e6
