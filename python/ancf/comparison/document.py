"""The parts of ``Comparison.to_dict``: plain values for JSON and for the report."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ancf.comparison.pairs import Difference, Figures
from ancf.comparison.running import Outcome
from ancf.evaluation import Evaluation, UserGroups
from ancf.evaluation.user_groups import Mean


def model_document(name: str, each: Outcome, figures: Mapping[str, Figures], *, ours: bool) -> dict[str, Any]:
    """What became of a model."""
    return {
        "model": name,
        "class": each.model_class,
        "ours": ours,
        "status": each.status,
        "message": each.message,
        "metrics": {
            metric: {"value": found.values[name], "interval": found.intervals.get(name)}
            for metric, found in figures.items()
            if name in found.values
        },
        "tune_s": each.tune_seconds,
        "fit_s": each.fit_seconds,
        "evaluate_s": None if each.evaluation is None else each.evaluation.seconds,
        "model_bytes": each.model_bytes,
        "peak_bytes": each.peak_bytes,
        "options": each.options,
        "history": each.history,
    }


def slice_document(part: UserGroups, evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """The means of each group of users, and their standard errors."""
    found = []
    for at, label in enumerate(part.labels):
        users = part.groups == at
        measured = {
            name: {metric: Mean.of(values[users]) for metric, values in each.per_user.items()}
            for name, each in evaluations.items()
        }
        means, stderr = (
            {name: {metric: getattr(mean, field) for metric, mean in each.items()} for name, each in measured.items()}
            for field in ("value", "stderr")
        )
        found.append({"label": label, "users": int(users.sum()), "means": means, "stderr": stderr})
    return found


def difference_document(each: Difference) -> dict[str, Any]:
    """Two models on one metric."""
    return {
        "first": each.first,
        "second": each.second,
        "metric": each.metric,
        "difference": each.value,
        "interval": each.interval,
        "won": each.won,
        "lost": each.lost,
        "tied": each.tied,
        "t": each.t_test.statistic,
        "p_t": each.t_test.p,
        "p_t_corrected": each.p_t,
        "wilcoxon": each.wilcoxon.statistic,
        "p_wilcoxon": each.wilcoxon.p,
        "p_wilcoxon_corrected": each.p_wilcoxon,
        "pairs_corrected_for": each.n_pairs,
        "more_than_luck": each.more_than_luck,
    }


def plain(value: Any) -> Any:
    """For JSON: built-in types alone, NaN and infinities as None, ids and dates as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
