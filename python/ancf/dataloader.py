"""Mini-batches in the order of the rows."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from ancf.errors import InvalidDataError, InvalidParameterError


def batch_data(X: Any, y: ArrayLike, batch_size: int = 64) -> Iterator[tuple[Any, Any]]:
    """Neighbouring rows of X and y, ``batch_size`` at a time; the last batch may be smaller.

    Parameters
    ----------
    X : DataFrame or array (n, …)
    y : Series or array (n,)
    batch_size : int, at least 1

    Yields
    ------
    (X_batch, y_batch)
        Slices of what was given, of the same type.

    Raises
    ------
    InvalidParameterError
        If ``batch_size`` is no whole number of at least 1.
    InvalidDataError
        If X and y have different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> [len(y_batch) for X_batch, y_batch in batch_data(np.zeros((150, 2)), np.zeros(150))]
    [64, 64, 22]
    """
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise InvalidParameterError(f"batch_size={batch_size!r}: give a whole number of at least 1.")
    n, m = len(X), len(y)  # type: ignore[arg-type]
    if n != m:
        raise InvalidDataError(f"X has {n} rows and y has {m}; give one value per row.")

    def batches() -> Iterator[tuple[Any, Any]]:
        for start in range(0, n, batch_size):
            yield _rows(X, start, start + batch_size), _rows(y, start, start + batch_size)

    return batches()


def _rows(table: Any, start: int, end: int) -> Any:
    return table.iloc[start:end] if isinstance(table, (pd.DataFrame, pd.Series)) else table[start:end]
