"""What a model's items are called: ids, names and categories as text, by position."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.errors import InvalidDataError
from ancf.scoring.scorer import Scorer


class ItemTexts:
    """Lists of text: an element of an array takes longer to get."""

    def __init__(self, scorer: Scorer) -> None:
        self.ids = [_as_text(each) for each in scorer.item_ids.values.tolist()]
        none: list[None] = [None] * len(self.ids)
        names, labels = scorer.item_names, scorer.item_categories
        self.has_names, self.has_categories = names is not None, labels is not None
        self.names: list[str | None] = [*none] if names is None else names.tolist()
        self.categories: list[str | None] = [*none]
        self._in_category: dict[str, NDArray[np.uint8]] = {}
        if labels is not None:
            self.categories = [None if each is None else str(each) for each in labels.tolist()]
            for label in sorted({str(each) for each in labels.tolist() if each is not None}):
                self._in_category[label] = (labels == label).astype(np.uint8)

    @property
    def all_categories(self) -> list[str]:
        """The categories, ascending."""
        return list(self._in_category)

    def in_category(self, name: str) -> NDArray[np.uint8]:
        """1 for each item of a category.

        Raises
        ------
        InvalidDataError
            If no item is in it.
        """
        if name not in self._in_category:
            known = (
                f"There are {_text.format_list(self.all_categories, 10)}."
                if self._in_category
                else "This model knows no categories; leave it out."
            )
            raise InvalidDataError(f"category={name!r}: no item is in it. {known}")
        return self._in_category[name]


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
