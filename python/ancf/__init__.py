"""Attention neural collaborative filtering for product recommendation.

>>> import ancf
>>> sorted(name for name in ("read_interactions", "ANCF", "evaluate") if name in ancf.__all__)
['ANCF', 'evaluate', 'read_interactions']

Names are loaded when they are first used, so that ``import ancf`` stays light.
"""

import importlib
from typing import Any

from ancf._native import __version__

# Where each public name lives.
_HOME = {
    "AncfError": "errors",
    "DivergedError": "errors",
    "InternalError": "errors",
    "InvalidDataError": "errors",
    "InvalidParameterError": "errors",
    "MissingExtraError": "errors",
    "ModelFileError": "errors",
    "NotFittedError": "errors",
    "TrainingWarning": "errors",
    "UnknownItemError": "errors",
    "UnknownUserError": "errors",
    "IdMap": "data.ids",
    "Interactions": "data.interactions",
    "read_interactions": "data.reading",
    "preprocess_data": "data.preprocess",
    "kfold": "data.split",
    "LeakageWarning": "data.split",
    "leave_last_out": "data.split",
    "random_split": "data.split",
    "time_split": "data.split",
    "user_split": "data.split",
    "batch_data": "data.preprocess",
    "ANCF": "models",
    "ANCFModel": "models",
    "ItemKNN": "models",
    "Popular": "models",
    "Recommender": "models",
    "from_factors": "models",
    "Recommendations": "scoring.results",
    "Evaluation": "evaluation",
    "calculate_ndcg": "evaluation",
    "dcg_score": "evaluation",
    "evaluate": "evaluation",
    "evaluate_metrics": "evaluation",
    "compare": "comparison",
    "load": "models.loading",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"ancf.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ancf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
