"""Normalised quantities, and the founding ``preprocess_data``.

A normaliser is fitted on the training part alone, stored with the model, and applied as it is to everything that comes
later: what validation and test look like must not leak into training.
"""

from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ancf.errors import InvalidDataError, InvalidParameterError, NotFittedError

Kind = Literal["none", "log", "minmax", "standard"]
NORMALIZERS: tuple[str, ...] = get_args(Kind)


class Normalizer:
    """A fitted, invertible map of quantities: ``y = f((x - shift) / scale)``.

    Parameters
    ----------
    kind : "none", "log", "minmax" or "standard"
        ``log``: sign(x)·log(1 + |x|), needs no fitting. ``minmax``: the training part's range becomes 0..1.
        ``standard``: the training part gets mean 0 and standard deviation 1 (of the whole part, not of a sample).
        Where all training values are equal, ``minmax`` and ``standard`` give 0.

    Examples
    --------
    >>> normalizer = Normalizer("minmax").fit([2, 4, 6])
    >>> normalizer.transform([2, 3, 8]).tolist()
    [0.0, 0.25, 1.5]
    >>> normalizer.inverse(normalizer.transform([2, 3, 8])).tolist()
    [2.0, 3.0, 8.0]
    """

    def __init__(self, kind: str = "none") -> None:
        if kind not in NORMALIZERS:
            raise InvalidParameterError(f"normalize={kind!r}: give one of {', '.join(map(repr, NORMALIZERS))}.")
        self.kind = kind
        self.shift, self.scale = 0.0, 1.0
        self._fitted = kind in ("none", "log")

    def fit(self, values: ArrayLike) -> Self:
        """Learn shift and scale from the quantities of the training part; returns self."""
        array = np.asarray(values, np.float64)
        if not len(array):
            raise InvalidDataError(f"normalize={self.kind!r}: there are no quantities to fit on.")
        if not np.isfinite(array).all():
            at = int(np.flatnonzero(~np.isfinite(array))[0])
            raise InvalidDataError(f"normalize={self.kind!r}: quantity {array[at]} at position {at} is not finite.")
        if self.kind == "minmax":
            self.shift, self.scale = float(array.min()), float(array.max() - array.min())
        elif self.kind == "standard":
            self.shift, self.scale = float(array.mean()), float(array.std())
        if self.scale == 0.0:
            self.scale = 1.0
        self._fitted = True
        return self

    def transform(self, values: ArrayLike) -> NDArray[np.float64]:
        """Normalised quantities (float64, the shape of ``values``)."""
        array = self._checked(values)
        if self.kind == "log":
            return np.asarray(np.sign(array) * np.log1p(np.abs(array)))
        return np.asarray((array - self.shift) / self.scale)

    def inverse(self, values: ArrayLike) -> NDArray[np.float64]:
        """Quantities from normalised ones."""
        array = self._checked(values)
        if self.kind == "log":
            return np.asarray(np.sign(array) * np.expm1(np.abs(array)))
        return np.asarray(array * self.scale + self.shift)

    def _checked(self, values: ArrayLike) -> NDArray[np.float64]:
        if not self._fitted:
            raise NotFittedError(
                f"Normalizer({self.kind!r}) is not fitted. Call fit with the training quantities first."
            )
        return np.asarray(values, np.float64)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``from_state`` builds the same normaliser."""
        return {"kind": self.kind, "shift": self.shift, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The normaliser that ``state`` described; refuses what is not finite or unknown."""
        new = cls(str(state.get("kind")))
        shift, scale = float(state.get("shift", 0.0)), float(state.get("scale", 1.0))
        if not (np.isfinite(shift) and np.isfinite(scale) and scale != 0):
            raise InvalidDataError(
                f"normaliser with shift {shift} and scale {scale}: both must be finite, scale not zero."
            )
        new.shift, new.scale, new._fitted = shift, scale, True
        return new

    def __repr__(self) -> str:
        return f"Normalizer({self.kind!r}, shift={self.shift:g}, scale={self.scale:g})"


class _Six(NamedTuple):
    X_train: pd.DataFrame
    X_val: pd.DataFrame
    X_test: pd.DataFrame
    y_train: "pd.Series[Any]"
    y_val: "pd.Series[Any]"
    y_test: "pd.Series[Any]"


class PreparedData(_Six):
    """``X_train, X_val, X_test, y_train, y_val, y_test``, and the ``normalizer`` that was fitted on ``y_train``."""

    normalizer: Normalizer


def preprocess_data(
    data: Any,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    weight: str | int | None = None,
    anonymous: Literal["group", "exclude"] = "group",
    normalize: Kind = "minmax",
    on_bad_rows: Literal["raise", "drop"] = "raise",
    random_state: int = 42,
) -> PreparedData:
    """A purchase table as 60 % training, 20 % validation and 20 % test rows, line by line.

    The rows are those of scikit-learn's ``train_test_split(X, y, test_size=0.4, random_state=random_state)``, whose
    held-out part is halved the same way; the order is the same too. One row stays one row: nothing is summed and
    returns stay negative (``ancf.read_interactions`` has policies for both).

    Parameters
    ----------
    data : path, DataFrame or anything that ``ancf.read_interactions`` reads
    user, item, weight : column names, optional
        Recognised if left out; without a quantity every row counts 1.
    anonymous : "group" or "exclude"
        Users -1: one class of their own, with the id -1 (``"-1"`` where ids are text), or left out. Rows whose user
        id is missing altogether, and rows without an item id, are always discarded.
    normalize : "none", "log", "minmax" or "standard"
        Fitted on the training part only.

    Returns
    -------
    PreparedData
        Unpacks into ``X_train, X_val, X_test, y_train, y_val, y_test``. X has the columns ``user_id, product_id`` and
        the numbers of the rows in the table as its index; y (float64) is the normalised quantity.

    Raises
    ------
    InvalidDataError
        If the table cannot be read, a quantity is no number (unless ``on_bad_rows="drop"``), or too few rows are left.

    Examples
    --------
    >>> table = pd.DataFrame({"user_id": [1, 1, 2, -1, 3], "product_id": list("abcab"), "quantity": [1, 2, 3, 4, 5]})
    >>> X_train, X_val, X_test, y_train, y_val, y_test = preprocess_data(table)
    >>> len(X_train), len(X_val), len(X_test), list(X_train.columns)
    (3, 1, 1, ['user_id', 'product_id'])
    """
    from ancf.reading import read_table
    from ancf.split import random_parts

    if anonymous not in ("group", "exclude"):
        raise InvalidParameterError(f"anonymous={anonymous!r}: give 'group' or 'exclude'.")
    if on_bad_rows not in ("raise", "drop"):
        raise InvalidParameterError(f"on_bad_rows={on_bad_rows!r}: give 'raise' or 'drop'.")
    Normalizer(normalize)
    chosen: dict[str, Any] = {"user": user, "item": item, "weight": weight}
    chosen |= dict.fromkeys(("time", "name", "category", "basket"), False)
    table = read_table(data, chosen, keep_minus_one=True)
    users, items = table.ids["user"], table.ids["item"]
    quantities = np.ones(table.n_rows) if table.weight is None else table.weight.values
    keep = (users.codes >= 0) & (items.codes >= 0)
    bad = np.flatnonzero(keep & ~np.isfinite(quantities))
    if len(bad) and on_bad_rows == "raise":
        shown = ", ".join(str(row + table.row_base) for row in bad[:5])
        texts = ", ".join(f'"{text}"' for text in table.weight.odd.texts[:5]) if table.weight is not None else ""
        raise InvalidDataError(
            f"{table.source}: {len(bad)} rows have a quantity that is not a finite number (rows {shown}: {texts}). "
            'Fix them, or give on_bad_rows="drop" to leave them out.'
        )
    keep[bad] = False
    if anonymous == "exclude":
        nobody = [at for at, value in enumerate(users.values.tolist()) if value in (-1, "-1")]
        keep &= ~np.isin(users.codes, nobody)
    rows = np.flatnonzero(keep)
    if len(rows) < 5:
        raise InvalidDataError(
            f"{table.source}: {len(rows)} of {table.n_rows} rows have a user, an item and a quantity; a 60/20/20 split "
            "needs 5 or more. Check the columns chosen."
        )
    X = pd.DataFrame(
        {"user_id": users.values[users.codes[rows]], "product_id": items.values[items.codes[rows]]}, index=rows
    )
    parts = random_parts(len(rows), (0.6, 0.2, 0.2), random_state)
    normalizer = Normalizer(normalize).fit(quantities[rows[parts[0]]])
    train, val, test = (X.iloc[part] for part in parts)
    ys = [pd.Series(normalizer.transform(quantities[rows[part]]), index=rows[part], name="quantity") for part in parts]
    prepared = PreparedData(train, val, test, *ys)
    prepared.normalizer = normalizer
    return prepared
