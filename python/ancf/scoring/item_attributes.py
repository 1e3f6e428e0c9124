"""What conditions of rules ask of a model's items: their attributes, and what it knows of them anyway."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ancf.data.feature_columns import CategoryColumn, NumericColumn
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.time_range import SECONDS_PER_DAY
from ancf.errors import InvalidParameterError
from ancf.scoring.conditions import Column, Condition
from ancf.scoring.scorer import Scorer


class ItemAttributes:
    """What conditions ask: the columns of a model's attributes, and what it knows of its items anyway."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def holds(self, text: str, where: str) -> NDArray[np.bool_]:
        """Which items fulfill a condition."""
        return Condition(text, where).holds(lambda name: self.column(name, where), len(self.scorer.item_ids))

    def codes(self, text: str, where: str) -> NDArray[np.int32]:
        """A code for each value of an attribute, or 0 for what fulfills a condition; -1 for all else."""
        condition = Condition(text, where)
        if condition.attribute is None:
            return np.where(self.holds(text, where), 0, -1).astype(np.int32)
        column = self.column(condition.attribute, where)
        if isinstance(column, CategoryColumn):
            return np.ascontiguousarray(column.codes)
        if isinstance(column, IdMap) or column.kind == "tags":
            raise InvalidParameterError(
                f"{where}: {condition.attribute} is "
                + ("another for each item" if isinstance(column, IdMap) else "a list, and items may share a part of it")
                + f". Count by a condition, such as \"'a' in {condition.attribute}\"."
            )
        cells = column.cells()
        values = {value: code for code, value in enumerate(dict.fromkeys(cell for cell in cells if cell is not None))}
        return np.array([-1 if cell is None else values[cell] for cell in cells], np.int32)

    def column(self, name: str, where: str) -> Column:
        """The column of an attribute.

        Raises
        ------
        InvalidParameterError
            If there is none of this name; lists those that there are.
        """
        features = self.scorer.features_of_items
        features = Features(self.scorer.item_ids, {}) if features is None else features
        if name not in features and name in _OWN:
            found = _OWN[name](self.scorer)
            if found is not None:
                return found
            raise InvalidParameterError(f"{where}: {name} is not known; the model learned from a table without times.")
        try:
            return features[name]
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{where}: {error} Beside these: {', '.join(_OWN)}.") from None


def _buyers(scorer: Scorer) -> Column:
    return NumericColumn(scorer.buyers().astype(np.float64))


def _age_days(scorer: Scorer) -> Column | None:
    known = scorer.purchases
    if known is None or known.times is None or known.until is None:
        return None
    items = scorer.seen.items if known.counts is None else np.repeat(scorer.seen.items, known.counts)
    today = known.until if scorer.past is None else scorer.past.now
    first = np.full(len(scorer.item_ids), np.iinfo(np.int64).max)
    np.minimum.at(first, items, known.times)
    bought = first < np.iinfo(np.int64).max
    age = np.where(bought, (today - np.where(bought, first, 0)) / SECONDS_PER_DAY, 0.0)
    return NumericColumn(np.where(bought, np.maximum(age, 0.0), np.nan))


_OWN: dict[str, Callable[[Scorer], Column | None]] = {
    "item_id": lambda scorer: scorer.item_ids,
    "buyers": _buyers,
    "age_days": _age_days,
}
