"""What a model knows, for people who look at it: its items, its users, and what somebody has had."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.ids import IdMap
from ancf.scoring.histories import Histories
from ancf.serving.histories import Continued, continue_history, row_of
from ancf.serving.journal import Entry
from ancf.serving.schema import (
    Catalog,
    CatalogItem,
    CatalogOptions,
    HistoryItem,
    HistoryList,
    ItemsOptions,
    KnownUser,
    KnownUsers,
)
from ancf.serving.served_model import ServedModel

_NO_TIME = 0
"""What has no time in a history stands before this."""
_AT_A_TIME = 10_000
"""So many ids become texts at once."""


def items(served: ServedModel, options: ItemsOptions) -> Catalog:
    """Items that fit, those first that most users had; ties in the order of the training table."""
    scorer = served.scorer
    users = np.bincount(scorer.seen.items, minlength=len(scorer.item_ids))
    order = np.argsort(-users, kind="stable")
    if options.category is not None:
        order = order[served.texts.in_category(options.category)[order].astype(bool)]
    texts = (f"{served.texts.ids[at]} {served.texts.names[at] or ''}" for at in order.tolist())
    found = _matching(order, options.search, texts)
    page = found[options.offset : options.offset + options.n]
    listed = [
        CatalogItem(served.texts.ids[at], int(users[at]), served.texts.names[at], served.texts.categories[at])
        for at in page.tolist()
    ]
    return Catalog(listed, len(found), served.version)


def users(served: ServedModel, options: CatalogOptions) -> KnownUsers:
    """Users that fit, in the order of the training table."""
    scorer = served.scorer
    ids = scorer.user_ids
    found = _matching(np.arange(len(ids)), options.search, _texts(ids))
    page = found[options.offset : options.offset + options.n]
    counts = np.diff(scorer.seen.indptr)
    listed = [KnownUser(_text_of(ids[at]), int(counts[at])) for at in page.tolist()]
    return KnownUsers(listed, len(found), served.version)


def history(
    served: ServedModel,
    user_id: str | None,
    basket: Sequence[Entry],
    entries: Sequence[Entry],
) -> HistoryList:
    """What a user has had, with a basket on top, and how much attention the model gives to each."""
    scorer = served.scorer
    row = -1 if user_id is None else row_of(scorer, user_id, entries)
    continued = continue_history(scorer, row, [*entries, *basket], served.counting)
    if continued is None and row < 0:
        return HistoryList(user_id, [], served.variant, served.version)
    histories, attention = _with_attention(served, row, continued)
    times = histories.times
    order = np.arange(len(histories.items)) if times is None else np.argsort(-times, kind="stable")
    listed = []
    for at in order.tolist():
        item = int(histories.items[at])
        listed.append(
            HistoryItem(
                served.texts.ids[item],
                served.texts.names[item],
                served.texts.categories[item],
                float(histories.weights[at]),
                None if times is None or times[at] < _NO_TIME else datetime.fromtimestamp(int(times[at]), UTC),
                None if attention is None else round(float(attention[at]), 6),
            )
        )
    return HistoryList(user_id, listed, served.variant, served.version)


def _with_attention(
    served: ServedModel, row: int, continued: Continued | None
) -> tuple[Histories, NDArray[np.floating[Any]] | None]:
    scorer = served.scorer
    if continued is None:
        found, weights, times = scorer.purchases_of(row)
        histories = Histories(np.array([0, len(found)], np.int64), found, weights, times)
        attention = scorer.encoder.attention_weights(scorer, histories, row)
    else:
        histories = continued.histories
        attention = scorer.encoder.attention_weights(scorer, histories, None)
    if attention is None or not len(attention):
        return histories, None
    return histories, attention / attention.sum()


def _matching(order: NDArray[np.intp], search: str | None, texts: Iterable[str]) -> NDArray[np.intp]:
    """Those of which every word of ``search`` begins a word, or stands in it."""
    words = [] if search is None else search.casefold().split()
    if not words:
        return order
    found = [all(word in text.casefold() for word in words) for text in texts]
    return np.compress(found, order)


def _texts(ids: IdMap) -> Iterator[str]:
    """Ids as text, some at a time: as objects, all those of a large shop are half of a worker's memory."""
    for start in range(0, len(ids), _AT_A_TIME):
        yield from map(_text_of, ids[start : start + _AT_A_TIME])


def _text_of(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
