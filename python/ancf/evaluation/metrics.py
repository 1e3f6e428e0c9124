"""The names of the metrics, and what a caller's names ask for. Formulas and sources: ``docs/metrics.md``."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

import numpy as np

from ancf.errors import InvalidParameterError
from ancf.scoring.requests import is_one

HIT_METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit")
"""Of the hits in a list: one value for each user."""
PROPERTY_METRICS = ("novelty", "diversity", "serendipity", "popularity_bias")
"""Of a list and the training table: one value for each user."""
RANKING_METRICS = (*HIT_METRICS, "coverage", *PROPERTY_METRICS, "gini")
"""All that have a cut-off."""
ERROR_METRICS = ("mse", "rmse", "mae")
WHOLE_METRICS = ("auc", *ERROR_METRICS)
"""All that have none."""
OnUnknownUser = Literal["skip", "popular", "raise"]
DEFAULT_METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit", "coverage")


class Metric(NamedTuple):
    """What one name asks for."""

    name: str
    cut: int
    """The cut-off; 0 for a metric that has none."""


def parse_metrics(metrics: str | Sequence[str], k: int | Sequence[int]) -> dict[str, Metric]:
    """Label → metric and cut-off, in the order requested.

    Raises
    ------
    InvalidParameterError
        If a name is unknown; names the nearest one.

    Examples
    --------
    >>> parse_metrics(["NDCG", "mse"], k=10)
    {'ndcg@10': Metric(name='ndcg', cut=10), 'mse': Metric(name='mse', cut=0)}
    """
    cuts: list[Any] = [k] if is_one(k) else list(k)  # type: ignore[arg-type]
    for cut in cuts or [None]:
        if isinstance(cut, bool) or not isinstance(cut, (int, np.integer)) or cut < 1:
            raise InvalidParameterError(f"k is {k!r}; it must be a whole number of at least 1, or several.")
    if not isinstance(metrics, str) and is_one(metrics):
        raise InvalidParameterError(f"metrics is {metrics!r}; give names, such as ['ndcg@10', 'mse'].")
    wanted: dict[str, Metric] = {}
    for label in [metrics] if isinstance(metrics, str) else metrics:
        match = re.fullmatch(r"([a-z_]+)(?:@(\d+))?", str(label).lower())
        name = match[1] if match else ""
        if match is None or name not in RANKING_METRICS + WHOLE_METRICS:
            raise _unknown(label)
        if name in WHOLE_METRICS and match[2]:
            raise InvalidParameterError(f"metric {label!r}: {name} has no cut-off. Write {name!r}.")
        for cut in [0] if name in WHOLE_METRICS else [int(match[2])] if match[2] else cuts:
            if name in RANKING_METRICS and cut < 1:
                raise InvalidParameterError(
                    f"metric {label!r}: the cut-off is {cut!r}; it must be a whole number of at least 1."
                )
            wanted[f"{name}@{cut}" if cut else name] = Metric(name, int(cut))
    if not wanted:
        raise InvalidParameterError("metrics is empty; name at least one, such as 'ndcg@10'.")
    return wanted


def check_metric(name: str, value: str) -> None:
    """The name of one metric, as an option of this name has it."""
    try:
        parse_metrics([value], 10)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{name}: {error}") from None


def _unknown(label: Any) -> InvalidParameterError:
    """The error that names what there is, and what may have been meant."""
    name, _, cut = str(label).lower().partition("@")
    near = get_close_matches(name, RANKING_METRICS + WHOLE_METRICS, 1, 0.5)
    meant = f"{near[0]}@{cut}" if near and cut.isdigit() and near[0] in RANKING_METRICS else "".join(near[:1])
    hint = f"Did you mean {meant!r}? " if near else ""
    return InvalidParameterError(
        f"metric {label!r} is unknown. {hint}"
        f"There are {', '.join(f'{name}@k' for name in RANKING_METRICS)}, {', '.join(WHOLE_METRICS)}."
    )
