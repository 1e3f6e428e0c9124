"""``Scorer``: everything a fitted model answers with, in one object that never changes.

It holds the ids, what each user has had, the vectors, the item-item weights and the ``Ranker`` of the Rust core that is
built of them: the one scorer that ``recommend``, ``recommend_all``, ``predict``, ``explain`` and the evaluation all
ask, so that a pair has the same bits everywhere. A model becomes another by one assignment of its scorer; whoever took
the old one gets every answer from the old one.

What is not in the arrays is the model's ``Encoder``: how somebody of whom only the purchases are known becomes a user,
and what each purchase adds to a score.

``scorer_arrays`` has what a model file holds of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr, ItemSets
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.normalize import Normalizer
from ancf.errors import InvalidDataError
from ancf.scoring.histories import Histories, OneHistory, ones, short_history
from ancf.scoring.parts import Arrays as Arrays
from ancf.scoring.parts import EncodedUsers as EncodedUsers
from ancf.scoring.parts import Folding, Layers, Placed, TargetAttention
from ancf.scoring.past import Past, read_now, times_of
from ancf.scoring.purchases import Purchases
from ancf.scoring.results import Recommendations, TopN, TopNOne
from ancf.scoring.start import Start
from ancf.scoring.update_report import UpdateReport


class Encoder(ABC):
    """How a model sees people beyond the rows of its user table. Holds what it needs for that, and never changes.

    A model must say ``fold_in``. The rest has defaults: explanations then name the history's part as one number.
    """

    #: Whether the vectors say what is like what; a model of mere popularity has vectors too.
    vectors_are_comparable: ClassVar[bool] = True
    #: How item-item weights say which items are alike: by an item's row, by its column, or not at all.
    similar_items: Literal["rows", "columns"] | None = "rows"
    #: Whether, where there are times, a history weighs how often a thing was bought, rather than how much.
    counts_purchases: ClassVar[bool] = False
    #: Whether interest weighs less than a purchase in a history, whose weights are in purchases then.
    heeds_interest: bool = False
    #: What the model did to the quantities that it predicts.
    normalizer: Normalizer | None = None

    @abstractmethod
    def fold_in(self, scorer: "Scorer", histories: Histories, num_threads: int | None) -> EncodedUsers:
        """Users for bare histories, as training would have made them."""

    def sees_sets(self, scorer: "Scorer", filter_seen: bool) -> bool:
        """Whether a history is a set to it, whose weights and times may be left out; with ``filter_seen``, where lists
        leave out all of it."""
        return False

    def folding(self, scorer: "Scorer") -> Folding | None:
        """How the core makes a user of a history by itself, for the lists of ``top_n_for_items``; None where only
        ``fold_in`` can."""
        return None

    def top_n_for_items(
        self, scorer: "Scorer", history: OneHistory, N: int, filter_seen: bool, num_threads: int | None
    ) -> TopNOne:
        """The list for one history; what a server asks most."""
        arrays = history.to_arrays()
        user = self.fold_in(scorer, arrays, num_threads)
        left_out = history.left_out(filter_seen)
        leave = arrays.items if left_out is None else np.array(left_out, np.int32)
        exclude = ItemSets(np.array([0, len(leave)], np.int64), leave)
        top = TopN(
            *scorer.ranker.top_n_for(user.vectors, user.history, exclude, N, shift=user.shift, num_threads=num_threads)
        )
        return TopNOne(top.items[0, : top.counts[0]], top.scores[0, : top.counts[0]])

    def history_contributions(
        self, scorer: "Scorer", histories: Histories, user: int | None, items: NDArray[np.int64]
    ) -> NDArray[np.float64] | None:
        """What each item of one history adds to the dense part of the score of each of ``items`` (positions), as
        (history, items); None where that is not known.

        ``user`` is the position of a user of the training table, None for a bare history. A number has the same bits
        whatever other items are asked for (``ancf.data.arrays.inner_products``).
        """
        return None

    def neighbor_contributions(
        self,
        scorer: "Scorer",
        histories: Histories,
        user: int | None,
        weighted: tuple[NDArray[np.int32], NDArray[np.float32]],
        items: NDArray[np.int64],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """What purchases add to the sparse part of the score of each of ``items``: their own items (n,), of which one
        may stand there twice, and numbers (n, items).

        ``weighted`` is the row of the weighted history, its sources and weights; the rest as in
        ``history_contributions``.
        """
        sources, weights = weighted
        # Sources beyond the items contribute to the items too: a purchase and its repetition.
        values = weights.astype(np.float64)[:, None] * scorer.neighbor_values(sources, items)
        return sources % np.int32(len(scorer.item_ids)), values

    def attention_weights(
        self, scorer: "Scorer", histories: Histories, user: int | None
    ) -> NDArray[np.floating[Any]] | None:
        """How much each item of one history counts, whatever is scored; None for models without such attention.

        Positive, in units of their own; ``user`` as in ``history_contributions``.
        """
        return None

    def base_terms(
        self, scorer: "Scorer", vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        """What the dense part of a score has beside the history's contributions: text → number.

        ``explained`` is what those add up to; None where they are not known, so that all of the dense part is wanted.
        """
        if explained is not None:
            return {}
        items, layers = scorer.item_vectors, scorer.layers
        if layers is not None:
            user, other, g = vector.astype(np.float64), items[item].astype(np.float64), layers.product
            by_layers, constant = layers.output(user[g:] + other[g:])
            product = {"the product of the embeddings": float(user[:g] @ other[:g])} if g else {}
            return {**product, "the layers": by_layers, "the bias": constant}
        bias = {} if scorer.item_bias is None else {"the item's bias": float(scorer.item_bias[item])}
        if not items.shape[1]:
            return bias
        parts = vector.astype(np.float64) * items[item]
        if scorer.head == "factor_attention" and scorer.sharpness is not None:
            logits = scorer.sharpness * parts
            attention = np.exp(logits - logits.max())
            parts = parts * (attention / attention.sum())
        return {"the user's factors": float(parts.sum()), **bias}

    def popularity(self, scorer: "Scorer") -> NDArray[np.float32]:
        """What the lists of ``on_unknown="popular"`` go by (n_items,): the number of people who have each item, without
        those who only looked at it."""
        return scorer.buyers().astype(np.float32)

    def at(self, scorer: "Scorer", past: Past) -> "Scorer":
        """The scorer whose items are as they stood at a moment, as far as their scores change by the day."""
        return scorer

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """What a model file keeps of it, beside the scorer's own arrays."""
        return {}, {}


@dataclass(frozen=True, eq=False)
class Scorer:
    """A fitted model: arrays, the ranker made of them, and the encoder. Frozen; building one checks everything."""

    model: str
    """The name of the model's class."""
    options: Mapping[str, Any]
    """What the model was made with, by name."""
    user_ids: IdMap
    item_ids: IdMap
    item_names: NDArray[Any] | None
    seen: ItemSets
    """The history of each user; of it lists leave out what they have had (``had``)."""
    item_vectors: NDArray[np.float32]
    """(n_items, d)"""
    user_vectors: NDArray[np.float32]
    """(n_users, d)"""
    encoder: Encoder
    item_categories: NDArray[Any] | None = None
    neighbors: Csr | None = None
    """Item-item weights: row j holds what a purchase of j adds to others."""
    dense_neighbors: NDArray[np.float32] | None = None
    """The same for all items with all (n_items, n_items), in place of ``neighbors``."""
    history: Csr | None = None
    """What each entry of a user's history weighs there, or adds to the logits of target attention."""
    head: str = "inner"
    sharpness: NDArray[np.float32] | None = None
    item_bias: NDArray[np.float32] | None = None
    target: TargetAttention | None = None
    layers: Layers | None = None
    user_shift: NDArray[np.float32] | None = None
    link: str = "identity"
    training: dict[str, Any] | None = None
    """What training recorded: losses, metrics, settings."""
    purchases: Purchases | None = None
    """The events behind ``seen``; None for a model file without them, and vectors that were trained elsewhere."""
    item_features: Features | None = None
    """Attributes by ids of their own, also of items that are not among ``item_ids``."""
    user_features: Features | None = None
    event_weights: Mapping[str, float] | None = None
    """What an event of each type weighs."""
    placed: Placed | None = None
    placed_users: NDArray[np.int32] | None = None
    """The users (positions, rising) who have no purchases, and a place by their attributes."""
    start: Start | None = None
    """What training goes on from, where the model keeps it."""
    update: UpdateReport | None = None
    """What the update brought that made this of another scorer; no part of the file."""
    stock: NDArray[np.uint8] | None = field(init=False, default=None)
    """What alone may be listed (n_items,), in a view that ``with_stock`` made; None: everything."""
    past: Past | None = field(init=False, default=None)
    """What had happened by a moment, in a view that ``as_of`` made; None: everything."""
    compiled: dict[Any, Any] = field(init=False)
    """Rules by the positions of these items (``arranging``), made when they are first asked for."""
    ranker: "_native.Ranker" = field(init=False)
    _lazy_rankers: "dict[str, tuple[_native.Ranker, NDArray[np.float32]]]" = field(init=False)

    def __post_init__(self) -> None:
        for what, found, expected in (
            ("item vectors", len(self.item_vectors), len(self.item_ids)),
            ("user vectors", len(self.user_vectors), len(self.user_ids)),
            ("rows of seen items", self.seen.n_rows, len(self.user_ids)),
            *(
                (what, len(self.item_ids) if texts is None else len(texts), len(self.item_ids))
                for what, texts in (("names", self.item_names), ("categories", self.item_categories))
            ),
        ):
            if found != expected:
                raise InvalidDataError(f"{self.model}: {found} {what} for {expected} ids. Give one for each id.")
        ranker = _native.Ranker(
            self.item_vectors,
            neighbors=self.neighbors,
            dense_neighbors=self.dense_neighbors,
            head=self.head,
            sharpness=self.sharpness,
            item_bias=self.item_bias,
            layers=self.layers,
            link=self.link,
            **({} if self.target is None else self.target._asdict()),
        )
        ranker.set_users(self.user_vectors, self.history, self.left_out(filter_seen=True), self.user_shift)
        object.__setattr__(self, "ranker", ranker)
        object.__setattr__(self, "_lazy_rankers", {})
        object.__setattr__(self, "compiled", {})

    @cached_property
    def had(self) -> ItemSets:
        """What each user has had: ``seen`` without what was only looked at."""
        is_had = None if self.purchases is None else self.purchases.pair_had
        return self.seen if is_had is None else self.seen.keep(is_had)

    @cached_property
    def rejected(self) -> ItemSets | None:
        """What each user rejects, which no list of theirs has; None where nobody rejects anything."""
        known = self.purchases
        if known is None or known.rejections is None:
            return None
        return _rejected(known.interactions(self.user_ids, self.item_ids, self.seen))

    def left_out(self, *, filter_seen: bool) -> ItemSets | None:
        """What each user's lists leave out by themselves (n_users rows): what was rejected and, with ``filter_seen``,
        had."""
        if not filter_seen:
            return self.rejected
        return self.had if self.rejected is None else self.had.union(self.rejected)

    def mask(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A flag for each item, set for these (n_items,)."""
        flags = np.zeros(len(self.item_ids), np.uint8)
        flags[positions] = 1
        return flags

    def with_stock(self, stock: NDArray[np.uint8] | None) -> "Scorer":
        """A view in which only these items may be listed; it shares all else."""
        view = copy(self)
        object.__setattr__(view, "stock", stock)
        return view

    def as_of(self, now: Any) -> "Scorer":
        """A view of a moment: later purchases do not count (``past``), and items that nobody had by then are not
        listed. The last one is kept, since calls come in rows. None: the scorer itself.

        Raises
        ------
        InvalidDataError
            If it is no moment, nothing had happened by then, or the model knows no times.
        """
        if now is None:
            return self
        seconds = read_now(now, self.purchases)
        last: tuple[int, Scorer, NDArray[np.uint8] | None] | None = self.compiled.get("as of")
        if last is not None and last[0] == seconds and last[2] is self.stock:
            return last[1]
        known, times = times_of(self.purchases, "now=")
        past = Past(seconds, self.seen, known, times, self._rejecting_after(seconds))
        view = copy(self.encoder.at(self, past))
        sold = (~past.not_yet(len(self.item_ids))).astype(np.uint8)
        object.__setattr__(view, "past", past)
        object.__setattr__(view, "stock", sold if self.stock is None else self.stock & sold)
        object.__setattr__(view, "compiled", {})
        object.__setattr__(view, "_lazy_rankers", {})
        if self.rejected is not None or known.rejections is not None:
            # Who has neither bought nor rejected anything since stands in the ranker with the same.
            object.__setattr__(view, "rejected", _rejected(past.interactions(self.user_ids, self.item_ids)))
        self.compiled["as of"] = seconds, view, self.stock
        return view

    def _rejecting_after(self, now: int) -> NDArray[np.int64] | None:
        """The positions of who rejected something after a moment."""
        rejections = None if self.purchases is None else self.purchases.rejections
        if rejections is None or rejections.times is None:
            return None
        at = self.user_ids.positions(rejections.user_ids.values)[rejections.users[rejections.times > now]]
        return at[at >= 0]

    # ---- what the lists are made of

    def top_n_for_known(self, user: Any, N: Any, filter_seen: bool) -> Recommendations | None:
        """The list of one known user, by a short path: it is what a shop waits for. None where it does not lead."""
        plain = self.stock is None and self.placed_users is None and (filter_seen is True or self.rejected is None)
        if not plain:
            return None
        value = user.item() if isinstance(user, np.generic) else user
        found = self.ranker.top_n_of_id(self.user_ids.native_index, value, N, filter_seen)
        return None if found is None else self._one(user, found[0], found[1], "model")

    def top_n_for_short_history(
        self, history: Any, N: Any, filter_seen: bool, num_threads: int | None
    ) -> Recommendations | None:
        """The list for a short, plain history of known items, by a short path. None where it does not lead."""
        if type(history) is list and type(N) is int and N > 0 and type(filter_seen) is bool and self.stock is None:
            positions = short_history(history, self.item_ids)
            if positions is not None:
                items, scores = self.encoder.top_n_for_items(self, OneHistory(positions), N, filter_seen, num_threads)
                return self._one(0, items, scores, "history")
        return None

    def popularity(self) -> NDArray[np.float32]:
        """The scores of those lists (n_items,).

        Raises
        ------
        InvalidDataError
            If there are no interactions to count.
        """
        if not len(self.seen.items):
            raise InvalidDataError(
                'on_unknown="popular": this model holds no interactions to count. Give interactions= when building it.'
            )
        return self.encoder.popularity(self)

    def lazy_ranker(
        self, key: str, table: Callable[[], NDArray[np.float32]]
    ) -> "tuple[_native.Ranker, NDArray[np.float32]]":
        """A ranker over another table of vectors, and that table; made when it is first asked for, and kept.

        Two threads that ask at once may both make it; no lock is held that a fork could leave behind.
        """
        if key not in self._lazy_rankers:
            vectors = table()
            self._lazy_rankers[key] = (_native.Ranker(vectors), vectors)
        return self._lazy_rankers[key]

    def recommendations(self, users: Any, top: TopN, sources: Any, single: bool) -> Recommendations:
        """Lists by positions as they are handed out."""
        if self.placed_users is not None and not (isinstance(sources, str) and sources != "model"):
            at = self.user_ids.positions(users)
            listed = np.full(len(at), sources, object) if isinstance(sources, str) else sources
            sources = np.where(np.isin(at, self.placed_users) & (listed == "model"), "attributes", listed)
        if not single:
            found = Recommendations(users, self.item_ids, top.items, top.scores, top.counts, sources, self.item_names)
            found.unbought = self.unbought
            return found
        n = int(top.counts[0])
        source = sources if isinstance(sources, str) else sources[0]
        return self._one(users[0], top.items[0, :n], top.scores[0, :n], source)

    def _one(self, user: Any, items: NDArray[np.int32], scores: NDArray[np.float32], source: str) -> Recommendations:
        found = Recommendations(user, self.item_ids, items, scores, None, source, self.item_names, True)
        found.unbought = self.unbought
        return found

    @cached_property
    def unbought(self) -> NDArray[np.bool_] | None:
        """Which items nobody has bought, so that their scores come from attributes alone; None where there is none."""
        if self.placed is None:
            return None
        mask = np.zeros(len(self.item_ids), bool)
        mask[self.placed.items] = True
        mask &= np.bincount(self.seen.items, minlength=len(mask)) == 0
        return mask if mask.any() else None

    @cached_property
    def features_of_items(self) -> Features | None:
        """What is known of each item: attributes, names and categories; None where nothing is."""
        if self.item_features is None and self.item_names is None and self.item_categories is None:
            return None
        known = Features(self.item_ids, {}) if self.item_features is None else self.item_features.of(self.item_ids)
        return known.with_texts("name", self.item_names).with_texts("category", self.item_categories)

    @property
    def has_neighbors(self) -> bool:
        """Whether there are item-item weights."""
        return self.neighbors is not None or self.dense_neighbors is not None

    def neighbor_row(self, source: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """What a source adds: items, rising, and weights."""
        if self.dense_neighbors is not None:
            return np.arange(len(self.item_ids), dtype=np.int32), self.dense_neighbors[source]
        assert self.neighbors is not None
        return self.neighbors.row(source)

    def neighbor_values(self, sources: NDArray[np.int32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each of these sources adds to each target through the sparse part, before its weight."""
        if self.dense_neighbors is not None:
            return self.dense_neighbors[sources[:, None], targets].astype(np.float64)
        assert self.neighbors is not None
        rows = self.neighbors.take(sources)
        out = np.zeros((rows.n_rows, len(targets)))
        column_of = np.full(len(self.item_ids), -1, np.int64)
        column_of[targets] = np.arange(len(targets))
        columns = column_of[rows.indices]
        hits = np.flatnonzero(columns >= 0)
        out[np.searchsorted(rows.indptr, hits, side="right") - 1, columns[hits]] = rows.data[hits]
        return out

    def buyers(self) -> NDArray[np.int64]:
        """How many people have each item (n_items,), without those who only looked at it."""
        n = len(self.item_ids)
        return np.bincount(self.had.items, minlength=n) if self.past is None else self.past.buyers(n)

    def history_of(self, row: int) -> Histories:
        """What a user of the training table has had, all with a weight of 1."""
        items = self.seen.row(row)
        return Histories(np.array([0, len(items)], np.int64), items, np.ones(len(items), np.float32))

    def folded(
        self, past: Past, rows: NDArray[np.integer[Any]], num_threads: int | None
    ) -> tuple[Histories, EncodedUsers]:
        """Users of the training table as their histories up to a moment make them."""
        histories = past.histories(rows, self.encoder.counts_purchases, self.shares)
        return histories, self.encoder.fold_in(self, histories, num_threads)

    @cached_property
    def shares(self) -> NDArray[np.float32] | None:
        """What each event is in purchases, where the encoder heeds that."""
        if not self.encoder.heeds_interest or self.purchases is None or not self.event_weights:
            return None
        return self.purchases.shares(self.event_weights)

    def purchases_of(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64] | None]:
        """What a user of the training table has had, as training saw it: items, weights, and times where they are
        known, none after ``Purchases.until``."""
        first, last = int(self.seen.indptr[row]), int(self.seen.indptr[row + 1])
        items, known = self.seen.items[first:last], self.purchases
        if known is None:
            return items, ones(len(items)), None
        weights, counts, times = known.of_pairs(first, last)
        if self.shares is not None:
            return items, known.sums_of_pairs(self.shares, first, last), times
        if times is None:
            return items, weights, None
        return items, counts.astype(np.float32) if self.encoder.counts_purchases else weights, times


class HasScorer(Protocol):
    """A model, for those who only ask it: it hands out its scorer, or says that it has none yet."""

    num_threads: int | None

    def _fitted(self) -> Scorer: ...


def _rejected(events: Interactions) -> ItemSets | None:
    """What stands rejected of a table's users and items; None where nothing does."""
    sets = None if events.rejections is None else events.rejections.sets(events)
    return sets if sets is not None and len(sets.items) else None
