"""The models: one file per family, all of them recommenders."""

import importlib
from typing import Any

# Where each name lives; loaded when it is first used.
_HOME = {
    "ANCF": "ancf",
    "ANCFModel": "network",
    "Factors": "factors",
    "ItemKNN": "item_knn",
    "Popular": "popular",
    "Recommender": "base",
    "from_factors": "factors",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"ancf.models.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ancf.models' has no attribute {name!r}")
