"""Models and what they reached on the same users: the mapping that ``Comparison`` is, and what was found."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ancf.comparison.pairs import Difference, Figures, compare_figures, decides, lower_is_better
from ancf.comparison.running import Outcome
from ancf.comparison.sentence import ablation_sentence, verdict_sentence
from ancf.data.interactions import Interactions
from ancf.errors import InvalidParameterError
from ancf.evaluation import Evaluation, UserGroups
from ancf.models.base import Recommender


class MeasuredModels(Mapping[str, Evaluation]):
    """The part of ``Comparison``, which documents it, that holds the figures and ranks the models."""

    def __init__(
        self,
        outcomes: Mapping[str, Outcome],
        metrics: Sequence[str],
        *,
        ours: Sequence[str] = (),
        baseline: str | None = None,
        over: Mapping[str, str | None] | None = None,
        slices: Mapping[str, UserGroups] | None = None,
        about: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        interrupted: bool = False,
        random_state: int = 0,
        tables: tuple[Interactions, Interactions] | None = None,
    ) -> None:
        self.outcomes, self._tables = dict(outcomes), tables
        self._evaluations = {name: each.evaluation for name, each in outcomes.items() if each.evaluation is not None}
        self.metrics = tuple(metrics)
        self.baseline, self.interrupted, self.notes = baseline, interrupted, list(notes)
        self.over, self.slices = None if over is None else dict(over), dict(slices or {})
        self._ours, self._about = tuple(ours), dict(about or {})
        self.models: dict[str, Recommender] = {
            name: each.model for name, each in outcomes.items() if each.model is not None
        }
        self.fit_seconds = {name: outcomes[name].fit_seconds for name in self._evaluations}
        self.evaluate_seconds = {name: each.seconds for name, each in self._evaluations.items()}
        self.failures = {
            name: f"{each.status}: {each.message}" if each.message else each.status
            for name, each in outcomes.items()
            if each.status != "done"
        }
        self._figures: dict[str, Figures] = compare_figures(
            {
                metric: {n: each[metric] for n, each in self.items() if metric in each and math.isfinite(each[metric])}
                for metric in self.metrics
            },
            {
                metric: found
                for metric in self.metrics
                if (found := {n: each.per_user[metric] for n, each in self.items() if self._has_users(metric, n)})
            },
            random_state,
            {name: each.pair_errors for name, each in self.items() if each.pair_errors is not None},
        )
        with_values = [each for each in self.metrics if self._figures[each].values]
        self.metric = ([*filter(decides, with_values)] or with_values or list(self.metrics))[0]

    def _has_users(self, metric: str, name: str) -> bool:
        each = self._evaluations[name]
        return metric in each.per_user and math.isfinite(each[metric])

    # ---- a mapping

    def __getitem__(self, name: str) -> Evaluation:
        if name not in self._evaluations and name in self.failures:
            raise KeyError(f"{name} has no figures: {self.failures[name]}")
        return self._evaluations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._evaluations)

    def __len__(self) -> int:
        return len(self._evaluations)

    # ---- what was found

    @property
    def n_users(self) -> int:
        """The users measured, the same for all models."""
        return next(iter(self.values())).n_users if self else 0

    def ranking(self, metric: str | None = None) -> list[str]:
        """The names of those that have this metric, the best first; equal ones in the order given.

        Parameters
        ----------
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        list of str

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
        >>> result.ranking()
        ['ItemKNN', 'Popular']
        """
        values = self._of(metric).values
        sign = 1.0 if lower_is_better(metric or self.metric) else -1.0
        return sorted(values, key=lambda name: sign * values[name])

    def best(self, metric: str | None = None) -> str:
        """The name of the model with the highest value (the lowest of an error).

        Parameters
        ----------
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        str

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
        >>> result.best()
        'ItemKNN'
        """
        return self.ranking(metric)[0]

    def interval(self, name: str, metric: str | None = None) -> tuple[float, float] | None:
        """The 95 % interval of a model's figure, by users drawn anew; None for one of the whole catalogue's.

        Parameters
        ----------
        name : str, a model
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        (low, high), or None

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
        >>> result.interval("ItemKNN")
        (1.0, 1.0)
        """
        return self._of(metric).intervals.get(name)

    def difference(self, first: str, second: str, metric: str | None = None) -> Difference:
        """How much ``first`` is above ``second``, user by user, with its interval and tests.

        Parameters
        ----------
        first, second : str, models
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        Difference

        Raises
        ------
        InvalidParameterError
            If one of them has no values of this metric for each user.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2, 3, 4, 4, 5], item=["a", "a", "c", "d", "d", "f", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "f"])
        >>> result = ancf.compare(["popular", "item-knn"], data, test, "hit@1")
        >>> result.difference("ItemKNN", "Popular").won
        1
        """
        found = self._of(metric).differences
        if (first, second) in found:
            return found[first, second]
        if (second, first) in found:
            return found[second, first].reversed()
        raise InvalidParameterError(
            f"difference: {first!r} and {second!r} are no two models with {metric or self.metric} for each user."
        )

    def to_best_other(self, name: str, metric: str | None = None) -> Difference | None:
        """A model against the best of the others; None where it is alone.

        Parameters
        ----------
        name : str, a model
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        Difference, or None

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
        >>> result.to_best_other("ItemKNN").second
        'Popular'
        """
        others = [each for each in self.ranking(metric) if each != name]
        return self.difference(name, others[0], metric) if others and name in self._of(metric).values else None

    def differences(self, metric: str | None = None) -> list[Difference]:
        """What the tables show: each model against the best of the others, the best first.

        Of pieces of a model, each against the one it is added to.

        Parameters
        ----------
        metric : str, optional; by default the one that decides the sentence

        Returns
        -------
        list of Difference

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
        >>> [each.first for each in result.differences()]
        ['ItemKNN', 'Popular']
        """
        if self.over is not None:
            pairs = [(name, below) for name, below in self.over.items() if below is not None]
            return [
                self.difference(name, below, metric)
                for name, below in pairs
                if name in self._of(metric).values and below in self._of(metric).values
            ]
        found = [self.to_best_other(name, metric) for name in self.ranking(metric)]
        return [each for each in found if each is not None]

    def _of(self, metric: str | None) -> Figures:
        name = metric or self.metric
        if name not in self._figures:
            raise InvalidParameterError(f"metric {name!r} was not measured; there are {', '.join(self.metrics)}.")
        return self._figures[name]

    @property
    def sentence(self) -> str:
        """Who won, by how much, and whether that is more than luck."""
        among = self._about.get("candidates", "all")
        what = f"what was bought and {among} items" if among.endswith("sampled") else f"{among} candidates"
        return self._verdict() + ("" if among == "all" else f" The lists rank {what}, not all items.")

    def _verdict(self) -> str:
        unfinished = list(self.failures)
        if self.over is not None:
            steps = self._testable(self.differences)
            best = self.best() if steps else ""
            plain = [name for name in self._without_attention() if name in self and name != best]
            whole = [self.difference(best, name) for name in plain]
            return ablation_sentence(whole, steps, self.metric, unfinished)
        lead = self._testable(lambda: [self.to_best_other(self.best())]) if self else []
        values = self._figures[self.metric].values
        if len(values) > 1 and not decides(self.metric):
            return (
                f"Nobody won: {', '.join(self.metrics)} {'describes' if len(self.metrics) == 1 else 'describe'} lists "
                "without saying how good they are. Ask for ndcg@10, too."
            )
        return verdict_sentence(lead[0] if lead else None, values, self._ours, self.metric, unfinished)

    def _without_attention(self) -> list[str]:
        """The piece that all begins with, and the ones that are added to it first."""
        over = self.over or {}
        first = [name for name, below in over.items() if below is None]
        return [*first, *(name for name, below in over.items() if below in first)]

    def _testable(self, found: Any) -> list[Any]:
        return [each for each in found() if each is not None] if self._figures[self.metric].differences else []
