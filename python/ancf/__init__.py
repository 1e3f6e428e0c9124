"""Attention neural collaborative filtering for product recommendation.

>>> import ancf
>>> sorted(name for name in ("read_interactions", "ANCF", "evaluate") if name in ancf.__all__)
['ANCF', 'evaluate', 'read_interactions']

Names are loaded when they are first used, so that ``import ancf`` stays light.
"""

import importlib
import sys
from types import ModuleType
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
    "IdMap": "ids",
    "Interactions": "interactions",
    "read_interactions": "reading",
    "preprocess_data": "preprocess",
    "kfold": "split",
    "LeakageWarning": "split",
    "leave_last_out": "split",
    "random_split": "split",
    "time_split": "split",
    "user_split": "split",
    "batch_data": "dataloader",
    "ANCF": "models",
    "ANCFModel": "models",
    "ItemKNN": "models",
    "Popular": "models",
    "Recommender": "models",
    "from_factors": "models",
    "Recommendations": "infer",
    "Evaluation": "evaluate",
    "calculate_ndcg": "evaluate",
    "dcg_score": "evaluate",
    "evaluate": "evaluate",
    "evaluate_metrics": "evaluate",
    "compare": "compare",
    "load": "store",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"ancf.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ancf' has no attribute {name!r}")


class _Package(ModuleType):
    """Keeps ``ancf.evaluate`` the function, also after something has imported the module of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
