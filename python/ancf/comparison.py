"""Several models on the same split: the same users, the same lists' length, times beside the figures."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from ancf import _text
from ancf.checks import check_flag
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.evaluation import DEFAULT_METRICS, Evaluation, evaluate, parse_metrics
from ancf.models import class_names, class_of
from ancf.models.base import Recommender
from ancf.params import checks_call
from ancf.scoring.requests import is_one, materialize

if TYPE_CHECKING:
    import pandas as pd


class Comparison(Mapping[str, Evaluation]):
    """What ``compare`` found: a mapping model's name → ``Evaluation`` that prints as a table, in the order given.

    Attributes
    ----------
    fit_seconds : dict, model's name → seconds, or None for a model that was fitted already
    evaluate_seconds : dict, model's name → seconds
    models : dict, model's name → the fitted model
    """

    def __init__(
        self, evaluations: dict[str, Evaluation], models: dict[str, Recommender], fit_seconds: dict[str, float | None]
    ) -> None:
        self._evaluations = evaluations
        self.models = models
        self.fit_seconds = fit_seconds
        self.evaluate_seconds = {name: each.seconds for name, each in evaluations.items()}

    def __getitem__(self, name: str) -> Evaluation:
        return self._evaluations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._evaluations)

    def __len__(self) -> int:
        return len(self._evaluations)

    def best(self, metric: str) -> str:
        """The name of the model with the highest value (the lowest of an error).

        Parameters
        ----------
        metric : one that was measured

        Returns
        -------
        str

        Raises
        ------
        KeyError
            If it was not measured.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> result = ancf.compare(["Popular", "ItemKNN"], data, test, "hit@1")
        >>> result.best("hit@1")
        'Popular'
        """
        sign = -1.0 if metric in ("mse", "rmse", "mae") else 1.0
        return max(self, key=lambda name: sign * self[name][metric])

    def difference(self, first: str, second: str, metric: str) -> tuple[float, float]:
        """How much ``first`` is above ``second``, user by user: the mean difference and its standard error.

        The same users stand behind both figures, so this says more than two separate intervals.

        Parameters
        ----------
        first, second : names of models
        metric : one that has a value for each user

        Returns
        -------
        (float, float)

        Raises
        ------
        KeyError
            If there is no such model or metric.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> result = ancf.compare(["Popular", "ItemKNN"], data, test, "hit@1")
        >>> result.difference("ItemKNN", "Popular", "hit@1")
        (0.0, 0.0)
        """
        gap = self[first].per_user[metric] - self[second].per_user[metric]
        gap = gap[np.isfinite(gap)]
        return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else float("nan")

    def to_pandas(self) -> "pd.DataFrame":
        """One row for each model: ``model``, a column for each metric, ``fit_s``, ``evaluate_s``.

        Returns
        -------
        DataFrame

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> result = ancf.compare(["Popular", "ItemKNN"], data, test, "hit@1")
        >>> list(result.to_pandas().columns)
        ['model', 'hit@1', 'fit_s', 'evaluate_s']
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {"model": name, **each, "fit_s": self.fit_seconds[name], "evaluate_s": self.evaluate_seconds[name]}
                for name, each in self.items()
            ]
        )

    def __repr__(self) -> str:
        metrics = list(next(iter(self.values())))
        rows: list[list[Any]] = [
            [name, *(f"{each[metric]:.4f}" for metric in metrics), *self._times(name)] for name, each in self.items()
        ]
        table = _text.format_table(["model", *metrics, "fit s", "evaluate s"], rows)
        # Where all models stand on one training table, they know the same users and items.
        first = next(iter(self.values()))
        unknown = [
            f"{n:,} test {what} were not in training"
            for what, n in (("users", first.n_unknown_users), ("items", first.n_unknown_items))
            if n
        ]
        return f"{table}\n{'; '.join(unknown)}" if unknown else table

    def _times(self, name: str) -> list[str]:
        fit = self.fit_seconds[name]
        return ["–" if fit is None else f"{fit:.2f}", f"{self.evaluate_seconds[name]:.2f}"]

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html(index=False)


@checks_call
def compare(
    models: Recommender | str | Iterable[Recommender | str] | Mapping[str, Recommender | str],
    train: Interactions,
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    k: int | Sequence[int] = 10,
    filter_already_liked_items: bool = True,
    refit: bool = False,
) -> Comparison:
    """Fit each model on ``train`` and measure it on ``test``.

    Parameters
    ----------
    models : models in any container or iterator, one model, or a mapping label → model
        A model that is fitted already is measured as it is; the others are cloned, so that yours stay unfitted. A name
        of the registry ("ItemKNN", or "item-knn" as on the command line) is that model with its defaults.
    train, test : Interactions
    metrics, k, filter_already_liked_items
        As in ``ancf.evaluate``.
    refit : bool
        Fit clones of the fitted ones too.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidDataError
        If there is no model, or the fitted models know other users, so that they would be measured on other people.
        If none of the test users (items) is known, but some are in another kind, such as ``7`` for ``"7"``.
    InvalidParameterError
        If the registry has no model of a name; names the nearest.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
    >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
    >>> result = ancf.compare(["popular", ancf.ItemKNN()], data, test, metrics="recall@1")
    >>> list(result), result["ItemKNN"]["recall@1"]
    (['Popular', 'ItemKNN'], 1.0)
    """
    check_flag("refit", refit)
    if isinstance(models, (Recommender, str)):  # one model is a short list
        models = [models]
    if is_one(models):
        raise InvalidParameterError(f"compare: models is {models!r}; give models of ancf, or their names.")
    # Each model is measured anew: what is read once would be gone for the second.
    metrics = metrics if isinstance(metrics, str) else materialize(metrics)
    k = materialize(k)
    parse_metrics(metrics, k)
    if isinstance(models, Mapping):
        named = {label: _find_model(each) for label, each in models.items()}
    else:
        named = _unique_names([_find_model(each) for each in models])
    if not named:
        raise InvalidDataError("compare: give at least one model.")
    evaluations: dict[str, Evaluation] = {}
    fitted: dict[str, Recommender] = {}
    seconds: dict[str, float | None] = {}
    for name, each in named.items():
        ready = each._scorer is not None and not refit
        began = time.perf_counter()
        fitted[name] = each if ready else each.clone().fit(train)
        seconds[name] = None if ready else time.perf_counter() - began
        evaluations[name] = evaluate(
            fitted[name], test, metrics, k=k, filter_already_liked_items=filter_already_liked_items
        )
        first = next(iter(evaluations))
        if not np.array_equal(evaluations[name].user_ids, evaluations[first].user_ids):
            raise InvalidDataError(
                f"compare: {name} was measured on {evaluations[name].n_users} users and {first} on "
                f"{evaluations[first].n_users} (or others); they were fitted on different tables. Use refit=True."
            )
    return Comparison(evaluations, fitted, seconds)


def _find_model(model: Recommender | str) -> Recommender:
    """The model itself, or that of the registry with this name, as its defaults make it."""
    if isinstance(model, Recommender):
        return model
    if not isinstance(model, str):
        raise InvalidParameterError(f"compare: {model!r} is no model; give models of ancf, or their names.")
    by_cli_name = class_names()
    by_name = {name: name for name in by_cli_name.values()} | by_cli_name
    if model not in by_name:
        near = get_close_matches(model, by_name, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(by_name)}."
        raise InvalidParameterError(f"compare: there is no model {model!r}; {hint}")
    return class_of(by_name[model])()


def _unique_names(models: Sequence[Recommender]) -> dict[str, Recommender]:
    """Class names; models of the same class by their options as well."""
    kinds = [type(each).__name__ for each in models]
    named: dict[str, Recommender] = {}
    for kind, each in zip(kinds, models, strict=True):
        name = kind if kinds.count(kind) == 1 else repr(each)
        number = 2
        label = name
        while label in named:
            label, number = f"{name} #{number}", number + 1
        named[label] = each
    return named
