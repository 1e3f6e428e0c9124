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


def by_name(name: str) -> Any:
    """The class of a model by its name, as a model file keeps it: one of ours, or a subclass that was imported.

    Raises
    ------
    KeyError
        If there is no such model.
    """
    from ancf.models.base import Recommender

    if name not in Recommender.registry and name in _HOME:
        importlib.import_module(f"ancf.models.{_HOME[name]}")
    return Recommender.registry[name]
