"""Ids of a text file, which are text, as the numbers or UUIDs that a model learned from.

A table in memory has ids of the kind that its columns hold; a file has none but text. So what comes to a model whose
ids are numbers, as ``17850``, is read as these where every text is one, spelled as it is printed: ``017850`` and
``17850.0`` could be somebody else.
"""

import copy
from dataclasses import replace
from typing import Any

from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError


def events_like(new: Interactions, user_ids: IdMap, item_ids: IdMap) -> Interactions:
    """The same events and attributes by ids of the kinds of others; as they are where they have these, or no text.

    Raises
    ------
    InvalidDataError
        If a text is no such id; names it.

    Examples
    --------
    >>> today = Interactions.from_ids(user=["10", "9"], item=["tea", "tea"])
    >>> events_like(today, IdMap([7, 9]), IdMap(["tea"])).to_pandas()["user_id"].tolist()
    [10, 9]
    """
    found = copy.copy(new)
    found.user_ids, found.item_ids = _like(new.user_ids, user_ids, "user"), _like(new.item_ids, item_ids, "item")
    if new.rejections is not None:
        own = new.rejections
        found.rejections = replace(
            own, user_ids=_like(own.user_ids, user_ids, "user"), item_ids=_like(own.item_ids, item_ids, "item")
        )
    if new.user_features is not None:
        found.user_features = features_like(new.user_features, user_ids, "user")
    if new.item_features is not None:
        found.item_features = features_like(new.item_features, item_ids, "item")
    return found


def features_like(features: Features, ids: IdMap, side: str) -> Features:
    """Attributes by ids of the kind of others; as they are where they have it, or no text.

    Raises
    ------
    InvalidDataError
        If a text is no such id; names it.
    """
    own = _like(features.ids, ids, side)
    return features if own is features.ids else Features(own, dict(features), features.report)


def _like(new: IdMap, known: IdMap, side: str) -> IdMap:
    if new.kind != "str" or known.kind not in ("int", "uuid") or not len(new):
        return new
    found: list[Any] = []
    for text in new.values.tolist():
        parsed = known.parse(text)
        if isinstance(parsed, str) or str(parsed) != text.lower():
            raise InvalidDataError(
                f"the {side}s of this table have ids that are text, where the model's are of kind {known.kind!r} "
                f"({known[0]!r}), and {text!r} is not written as such an id is. Correct it, or leave its rows out."
            )
        found.append(parsed)
    return IdMap(found)
