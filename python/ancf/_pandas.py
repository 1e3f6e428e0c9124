"""pandas, loaded when somebody first needs it.

Loading takes half a second and 40 MB, which whoever only loads and asks a model does without. Modules that such a one
loads take ``pd`` from here, and ask ``is_series`` and its like what they were given: nobody has a Series before pandas
is there.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import pandas as pd
else:

    class _Pandas:
        def __getattr__(self, name):
            value = getattr(importlib.import_module("pandas"), name)
            setattr(self, name, value)
            return value

    pd = _Pandas()

__all__ = ["is_categorical", "is_column", "is_frame", "is_missing", "is_series", "pd"]


def is_series(value: Any) -> "TypeGuard[pd.Series[Any]]":
    """Whether this is a pandas Series."""
    return _is(value, "Series")


def is_column(value: Any) -> "TypeGuard[pd.Series[Any] | pd.Index[Any]]":
    """Whether this is a pandas Series or Index."""
    return _is(value, "Series") or _is(value, "Index")


def is_frame(value: Any) -> "TypeGuard[pd.DataFrame]":
    """Whether this is a pandas table."""
    return _is(value, "DataFrame")


def is_categorical(value: Any) -> "TypeGuard[pd.Categorical]":
    """Whether these are categories of pandas."""
    return _is(value, "Categorical")


def is_missing(value: Any) -> bool:
    """Whether this is the missing value of pandas."""
    return value is not None and value is getattr(sys.modules.get("pandas"), "NA", None)


def _is(value: Any, name: str) -> bool:
    # While another thread loads pandas, it is there and its classes are not.
    kind = getattr(sys.modules.get("pandas"), name, None)
    return kind is not None and isinstance(value, kind)
