"""The founding functions: a purchase table as training, validation and test rows, and rows as mini-batches."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ancf._pandas import pd
from ancf._text import format_value
from ancf.checks import check_choice, check_integer
from ancf.data.id_texts import IdRules
from ancf.data.normalize import Normalizer, NormalizerKind
from ancf.data.reading import TableOptions, read_table
from ancf.data.split import split_rows
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.params import checks_call


class _Parts(NamedTuple):
    X_train: "pd.DataFrame"
    X_val: "pd.DataFrame"
    X_test: "pd.DataFrame"
    y_train: "pd.Series[Any]"
    y_val: "pd.Series[Any]"
    y_test: "pd.Series[Any]"


class PreparedData(_Parts):
    """``X_train, X_val, X_test, y_train, y_val, y_test``, and the ``normalizer`` that was fitted on ``y_train``."""

    normalizer: Normalizer


@checks_call
def preprocess_data(
    data: Any,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    weight: str | int | None = None,
    anonymous: Literal["group", "exclude"] = "group",
    normalize: NormalizerKind = "minmax",
    on_bad_rows: Literal["raise", "drop"] = "raise",
    random_state: int = 42,
) -> PreparedData:
    """A purchase table as 60 % training, 20 % validation and 20 % test rows, line by line.

    The split is our own and needs NumPy alone. Its parts are the same rows in the same order as scikit-learn's
    ``train_test_split(X, y, test_size=0.4, random_state=random_state)``, with the held-out part halved the same way
    (``test_size=0.5``, the same ``random_state``). One row stays one row: nothing is summed and returns stay negative
    (``ancf.read_interactions`` has policies for both).

    Parameters
    ----------
    data : path, DataFrame or anything that ``ancf.read_interactions`` reads
    user, item, weight : column names, optional
        Recognized if left out; without a quantity every row counts 1.
    anonymous : "group" or "exclude"
        Users -1: one class of their own, with the id -1 (``"-1"`` where ids are text), or left out. Rows whose user
        id is missing altogether, and rows without an item id, are always discarded.
    normalize : "none", "log", "minmax" or "standard"
        Fitted on the training part only.
    on_bad_rows : "raise" or "drop"
        Rows whose quantity is no finite number, and lines of JSON that are none.
    random_state : int
        Of both steps of the split.

    Returns
    -------
    PreparedData
        Unpacks into ``X_train, X_val, X_test, y_train, y_val, y_test``. X has the columns ``user_id, product_id`` and
        the numbers of the rows in the table as its index; y (float64) is the normalized quantity.

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
    check_choice("anonymous", anonymous, ("group", "exclude"))
    check_choice("on_bad_rows", on_bad_rows, ("raise", "drop"))
    check_integer("random_state", random_state, 0, 2**32 - 1)
    for name, column in (("user", user), ("item", item), ("weight", weight)):
        if column is not None and not isinstance(column, (str, int, tuple)):
            raise InvalidParameterError(f"{name} is {column!r}; it must be the name of a column.")
    Normalizer(normalize)
    chosen: dict[str, Any] = {"user": user, "item": item, "weight": weight}
    chosen |= dict.fromkeys(("time", "name", "category", "event", "basket"), False)
    table = read_table(data, chosen, TableOptions(id_rules=IdRules(keep_minus_one=True)))
    users, items = table.ids["user"], table.ids["item"]
    quantities = np.ones(table.n_rows) if table.weight is None else table.weight.values
    keep = (users.codes >= 0) & (items.codes >= 0)
    for each in table.left_out:
        if each.is_bad and len(each.rows) and on_bad_rows == "raise":
            numbers = ", ".join(str(row + table.row_base) for row in each.rows[:5].tolist())
            raise InvalidDataError(
                f"{table.source}: {len(each.rows)} rows {each.text} (rows {numbers}). "
                'Fix them, or give on_bad_rows="drop" to leave them out.'
            )
    bad = np.flatnonzero(keep & ~np.isfinite(quantities))
    if table.weight is not None and len(bad) and on_bad_rows == "raise":
        numbers = ", ".join(str(row + table.row_base) for row in bad[:5])
        texts = ", ".join(f'"{text}"' for text in table.weight.unparsed.texts_of(bad[:5]))
        raise InvalidDataError(
            f"{table.source}: {len(bad)} rows have a quantity that is not a finite number (rows {numbers}: {texts}). "
            'Fix them, or give on_bad_rows="drop" to leave them out.'
        )
    keep[bad] = False
    if anonymous == "exclude":
        anonymous_codes = [code for code, value in enumerate(users.values.tolist()) if value in (-1, "-1")]
        keep &= ~np.isin(users.codes, anonymous_codes)
    rows = np.flatnonzero(keep)
    if len(rows) < 5:
        raise InvalidDataError(
            f"{table.source}: {len(rows)} of {table.n_rows} rows have a user, an item and a quantity; a 60/20/20 split "
            "needs 5 or more. Check the columns chosen."
        )
    X = pd.DataFrame(
        {"user_id": users.values[users.codes[rows]], "product_id": items.values[items.codes[rows]]}, index=rows
    )
    parts = split_rows(len(rows), (0.6, 0.2, 0.2), random_state)
    normalizer = Normalizer(normalize).fit(quantities[rows[parts[0]]])
    train, val, test = (X.iloc[part] for part in parts)
    targets = [
        pd.Series(normalizer.transform(quantities[rows[part]]), index=rows[part], name="quantity") for part in parts
    ]
    prepared = PreparedData(train, val, test, *targets)
    prepared.normalizer = normalizer
    return prepared


@checks_call
def batch_data(X: Any, y: ArrayLike, batch_size: int = 64) -> Iterator[tuple[Any, Any]]:
    """Consecutive rows of X and y, ``batch_size`` at a time; the last batch may be smaller.

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
    check_integer("batch_size", batch_size, 1, 2**62)
    for name, rows in (("X", X), ("y", y)):
        if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__") or isinstance(rows, (dict, str, bytes)):
            raise InvalidDataError(f"{name} is {rows!r}; give a table or an array with one row for each example.")
        if getattr(rows, "ndim", 1) == 0 or isinstance(rows, type):
            raise InvalidDataError(
                f"{name} is {rows!r}, which has no rows; give an array with one row for each example."
            )
    n, m = len(X), len(y)  # type: ignore[arg-type]
    if n != m:
        raise InvalidDataError(
            f"X has {n} rows and y has {m}; give one value of y for each row of X (y is {format_value(y)})."
        )

    def batches() -> Iterator[tuple[Any, Any]]:
        for start in range(0, n, batch_size):
            yield _slice_rows(X, start, start + batch_size), _slice_rows(y, start, start + batch_size)

    return batches()


def _slice_rows(table: Any, start: int, end: int) -> Any:
    return table.iloc[start:end] if isinstance(table, (pd.DataFrame, pd.Series)) else table[start:end]
