"""A model that is being served: one scorer, its version, and every question that requests ask of it.

Each answer is wholly of one ``ServedModel``, which never changes; another model is another object. The lists have the
bits of ``recommend`` and ``recommend_for_history``.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.errors import AncfError, InvalidDataError, ModelFileError, UnknownUserError
from ancf.models.base import Recommender
from ancf.models.loading import load_arrays
from ancf.scoring.arranging import compile_rules, forgive_deny
from ancf.scoring.buy_again import buy_again_of, buy_again_of_known
from ancf.scoring.explain import top_reasons, top_reasons_of_history
from ancf.scoring.filters import Filters, Requested
from ancf.scoring.histories import read_histories, take_apart
from ancf.scoring.list_request import ListRequest
from ancf.scoring.lists import pair_scores, strangers
from ancf.scoring.parts import EncodedUsers
from ancf.scoring.requests import unknown_items
from ancf.scoring.results import Source, TopN
from ancf.scoring.rules import Rules
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import first_twin
from ancf.serving.counting import Counting
from ancf.serving.histories import Continued, by_then, continue_history, purchases_with, row_of
from ancf.serving.item_texts import ItemTexts
from ancf.serving.journal import Entry
from ancf.serving.list_maker import make_list_maker
from ancf.serving.model_reading import ReadModel, read_model
from ancf.serving.schema import (
    AgainOptions,
    CompanionBody,
    ExplanationBody,
    Item,
    ListOptions,
    ListsBody,
    PopularOptions,
    Reason,
    ScoreList,
    SimilarOptions,
    TogetherOptions,
)
from ancf.serving.shop_rules import NO_SHOP, Shop, joined

_NOBODY = Requested(np.zeros(1, np.int64), what="request", whats="requests")
# One user's list takes microseconds; a pool of threads would only be in the way of other requests.
_THREADS = 1


class _List(NamedTuple):
    """A list by positions, and where it comes from."""

    positions: NDArray[np.int32]
    scores: NDArray[np.float32]
    source: Source


class ServedModel:
    """A model with what answering needs of it at hand."""

    def __init__(
        self,
        model: Recommender,
        version: str,
        variant: str = "main",
        count: Callable[[Scorer], Counting] = Counting.of,
    ) -> None:
        self.model, self.version, self.variant = model, version, variant
        self.scorer: Scorer = model._fitted()
        self.counting = count(self.scorer)
        self.loaded_at = time.time()
        self.shop = NO_SHOP
        self.rules: Rules | None = None
        self._shop_rules: Rules | None = None
        """The rules of the shop with ids as text."""
        self.unknown: dict[str, int] = {}
        """How many ids of the shop's files the model does not know, by what they are for."""
        self._sees_sets = [self.scorer.encoder.sees_sets(self.scorer, filter_seen) for filter_seen in (False, True)]
        self.texts = ItemTexts(self.scorer)
        self.list_maker = self._make_list_maker()
        """Makes most lists by itself; None where they need more."""

    def _make_list_maker(self) -> "_native.ListMaker | None":
        return make_list_maker(self.scorer, self.counting, self.texts, self.variant, self.version)

    @classmethod
    def load(
        cls,
        path: str | Path,
        variant: str = "main",
        count: Callable[[Scorer], Counting] = Counting.of,
        read: Callable[[str | Path], ReadModel] = read_model,
    ) -> "ServedModel":
        """The model in a file, every byte of it checked, and asked a few questions.

        Raises
        ------
        ModelFileError, OSError
            If it is damaged or missing, or its answers are none.
        """
        version, arrays, meta = read(path)
        served = cls(load_arrays(str(path), arrays, meta), version, variant, count)
        served.probe()
        return served

    def as_of(self, now: str | None) -> "ServedModel":
        """A view of a moment, in which later purchases do not count; None: the model itself.

        Raises
        ------
        InvalidDataError
            If it is no moment, nothing had happened by then, or the model knows no times.
        """
        if now is None:
            return self
        view = copy(self)
        view.scorer, view.list_maker = self.scorer.as_of(now), None
        return view

    def for_shop(self, shop: Shop) -> "ServedModel":
        """The same model with the rules of a shop, and only what it has in stock.

        Raises
        ------
        InvalidDataError, InvalidParameterError
            If the rules ask for what the model does not know.
        """
        if shop == self.shop:
            return self
        ids, whole = self.scorer.item_ids, self.model.with_stock(None)
        view = copy(self)
        view.model, view.unknown = whole, {}
        if shop.stock is not None:
            stock = [ids.parse(each) for each in shop.stock]
            known = sum(ids.position(each) >= 0 for each in stock)
            view.unknown["stock"] = len(stock) - known
            # Where nothing of it is known, nothing is in stock.
            view.model = whole.with_stock(stock if known else np.zeros(len(ids), bool))
        view.scorer, view.shop = view.model._fitted(), shop
        view.rules, view._shop_rules = self._parsed(shop.rules), shop.rules
        if view.rules is not None and shop.rules is not None:
            denies = bool(view.rules.deny)
            view.rules, view.unknown["deny"] = forgive_deny(view.rules, ids)
            if denies and not view.rules.deny:
                view._shop_rules = Rules(**{**shop.rules.to_dict(), "deny": ()})
            compile_rules(view.rules, view.scorer)
        view.list_maker = view._make_list_maker() if view.rules is None else None
        return view

    @property
    def warnings(self) -> list[str]:
        """What of the shop's files has no effect, or too much of one, as the model knows none of its ids."""
        found = []
        if self.shop.rules is not None and self.shop.rules.deny and self.rules is not None and not self.rules.deny:
            found.append(f"deny: the model knows none of its {self.unknown['deny']:,} ids; nothing is denied.")
        if self.shop.stock is not None and self.unknown["stock"] == len(self.shop.stock):
            found.append(f"stock: the model knows none of its {self.unknown['stock']:,} ids; all lists are empty.")
        return found

    def _parsed(self, rules: Rules | None) -> Rules | None:
        """Rules whose ids are text with those of the training table."""
        if rules is None:
            return None
        parse, table = self.scorer.item_ids.parse, rules.to_dict()
        if "deny" in table:
            table["deny"] = [parse(str(each)) for each in table["deny"]]
        if "pins" in table:
            table["pins"] = {place: parse(str(each)) for place, each in table["pins"].items()}
        return Rules(**table)

    def rules_of(self, options: ListOptions) -> Rules | None:
        """What a list obeys: the rules of the shop, and of the request on top.

        Raises
        ------
        InvalidParameterError
            If one has no meaning.
        """
        asked: dict[str, Any] = {}
        if isinstance(options, ListsBody) and options.rules is not None:
            asked = msgspec.to_builtins(options.rules)
        if options.diversity:
            asked["diversity"] = options.diversity
        if options.diversity_by is not None:
            asked["diversity_by"] = options.diversity_by
        parsed = self._parsed(joined(self._shop_rules, asked)) if asked else None
        return self.rules if parsed is None else forgive_deny(parsed, self.scorer.item_ids)[0]

    def probe(self) -> None:
        """Ask what a shop asks.

        Raises
        ------
        ModelFileError
            If there is no finite answer.
        """
        users, items = self.scorer.user_ids, self.scorer.item_ids
        if not len(items):
            raise ModelFileError("the model file holds no items. Load another copy.")
        users.prepare()
        items.prepare()
        options = ListOptions(n=10, exclude_seen=False)
        lists = [self._list(-1, Continued([0], None, lambda: (None, None)), options)]
        if len(users):
            lists.append(self._list(0, None, options))
        for each in lists:
            if not np.isfinite(each.scores).all():
                raise ModelFileError("the model file gives scores that are not finite. Load another copy.")

    def prepare(self) -> None:
        """Ask for what is made when it is first asked for, such as counts of what was bought together, so that no
        request waits for that. Answers are the same without."""
        questions: tuple[Callable[[], object], ...] = (
            lambda: self.popular(PopularOptions()),
            lambda: self.similar(self.texts.ids[0], SimilarOptions()),
            lambda: self.bought_together(TogetherOptions(item_id=[self.texts.ids[0]])),
            lambda: self.scorer.shares,
        )
        for ask in questions:
            # Not every model has all of them.
            with contextlib.suppress(AncfError):
                ask()

    # ---- lists

    def recommend(self, user_id: str, entries: Sequence[Entry], options: ListOptions) -> list[Item]:
        """The list of a user, with what the journal has of them."""
        if options.now is not None and self.scorer.past is None:
            return self.as_of(options.now).recommend(user_id, entries, options)
        scorer = self.scorer
        if scorer.past is not None:
            entries = by_then(entries, scorer.past.now)
        row = row_of(scorer, user_id, entries)
        rules = self.rules_of(options)
        continued = continue_history(scorer, row, entries, self.counting) if entries else None
        if (row < 0 and continued is None) or (continued is not None and not continued.items):
            return self._for_unknown(user_id, options, rules)
        return self._items(row, continued, self._list(row, continued, options, rules), options.explain)

    def recommend_for_basket(self, history: list[str], weights: list[float] | None, options: ListOptions) -> list[Item]:
        """The list of somebody of whom only some items are known."""
        if options.now is not None and self.scorer.past is None:
            return self.as_of(options.now).recommend_for_basket(history, weights, options)
        ids = self.scorer.item_ids
        request = take_apart([ids.parse(each) for each in history], weights, None)
        histories = read_histories(request, ids, options.on_unknown)
        continued = Continued.of_basket(histories)
        if not continued.items:
            return self._for_unknown(None, options, self.rules_of(options))
        return self._items(-1, continued, self._list(-1, continued, options, self.rules_of(options)), options.explain)

    def buy_again(self, user_id: str, entries: Sequence[Entry], options: AgainOptions) -> list[Item]:
        """What a user is due to buy again, with what the journal has of them."""
        if options.now is not None and self.scorer.past is None:
            return self.as_of(options.now).buy_again(user_id, entries, options)
        scorer = self.scorer
        if scorer.past is not None:
            entries = by_then(entries, scorer.past.now)
        row = row_of(scorer, user_id, entries)
        continued = continue_history(scorer, row, entries, self.counting)
        if row < 0 and (continued is None or not continued.items):
            if options.on_unknown == "raise":
                self._refuse_unknown(scorer, user_id)
            return []
        request = self._request(options.n, self._filters(options.category, None, options.exclude), self.rules)
        if continued is None:
            found = buy_again_of_known(scorer, np.array([row]), request)
        else:
            purchases = purchases_with(scorer, row, entries, self.counting)
            found = buy_again_of(scorer, purchases, continued.left_out(False), request)
        return self._items(row, None, _first(found, "again"), 0)

    def popular(self, options: PopularOptions) -> list[Item]:
        """The most popular items."""
        filters = self._filters(options.category, None, options.exclude)
        return self._items(-1, None, self._popular(options.n, filters, self.rules), 0)

    def bought_together(self, options: TogetherOptions) -> list[Item]:
        """What was bought together with some items."""
        parse = self.scorer.item_ids.parse
        found = self.model.bought_together(
            [parse(each) for each in options.item_id],
            options.n,
            items=None if options.category is None else self.texts.in_category(options.category).astype(bool),
            filter_items=self._excluded(options.exclude),
            rules=self.rules,
        )
        return self._items(-1, None, _List(found.flat_positions(), found.scores, "together"), 0)

    def similar(self, item_id: str, options: SimilarOptions) -> list[Item]:
        """The items most like an item."""
        ids = self.scorer.item_ids
        chosen = None if options.category is None else self.texts.in_category(options.category).astype(bool)
        found = self.model.similar_items(
            ids.parse(item_id),
            options.n,
            metric=options.metric,
            items=chosen,
            filter_items=self._excluded(options.exclude),
            rules=self.rules,
        )
        return self._items(-1, None, _List(found.flat_positions(), found.scores, "similar"), 0)

    # ---- scores

    def explain(self, user_id: str, item_id: str, entries: Sequence[Entry], now: str | None = None) -> ExplanationBody:
        """What the score of an item is made of, as of a moment."""
        scorer = self.scorer.as_of(now)
        if scorer.past is not None:
            entries = by_then(entries, scorer.past.now)
        ids = scorer.item_ids
        row = row_of(scorer, user_id, entries)
        continued = continue_history(scorer, row, entries, self.counting)
        item = ids.parse(item_id)
        if continued is None:
            if row < 0:
                self._refuse_unknown(scorer, user_id)
            why = self.model.explain(scorer.user_ids[row], item, now=now)
        else:
            known = continued.histories
            times = None if known.times is None else known.times.astype("datetime64[s]")
            why = self.model.explain(
                item=item, history=ids.values[known.items].tolist(), weights=known.weights, times=times, now=now
            )
        reasons = [Reason(str(each.item_id), each.name, each.contribution) for each in why.reasons]
        companions = [CompanionBody(str(each.item_id), *each[1:]) for each in why.companions]
        link: Literal["identity", "sigmoid"] = "sigmoid" if why.link == "sigmoid" else "identity"
        return ExplanationBody(user_id, item_id, why.name, why.score, reasons, why.base, link, companions, self.version)

    def score(self, user_id: str, items: list[str], entries: Sequence[Entry], now: str | None = None) -> ScoreList:
        """The scores of some items, as of a moment."""
        scorer = self.scorer.as_of(now)
        if scorer.past is not None:
            entries = by_then(entries, scorer.past.now)
        ids = scorer.item_ids
        parsed = [ids.parse(each) for each in items]
        positions = ids.positions(parsed)
        if (positions < 0).any():
            raise unknown_items(np.array(parsed, object)[positions < 0], ids)
        row = row_of(scorer, user_id, entries)
        continued = continue_history(scorer, row, entries, self.counting)
        if continued is None:
            if row < 0:
                self._refuse_unknown(scorer, user_id)
            scores = pair_scores(scorer, np.full(len(positions), row, np.int64), positions)
        else:
            users = scorer.encoder.fold_in(scorer, continued.histories, _THREADS)
            scores = scorer.ranker.scores_for(users.vectors, users.history, positions, shift=users.shift)
        return ScoreList(user_id, scores.tolist(), self.version)

    def check_items(self, items: Sequence[str], on_unknown: str) -> None:
        """Look whether the model knows all items of a basket.

        Raises
        ------
        UnknownItemError
            If it does not know one, and ``on_unknown="raise"``.
        """
        if on_unknown == "raise" and (unknown := self.unknown_items(items)):
            ids = self.scorer.item_ids
            raise unknown_items(np.array([ids.parse(each) for each in unknown], object), ids)

    def unknown_items(self, items: Sequence[str]) -> list[str]:
        """Those that the model does not know, each once."""
        ids = self.scorer.item_ids
        return [each for each in dict.fromkeys(items) if ids.position(ids.parse(each)) < 0]

    # ---- how

    def _is_plain(self, options: ListOptions, rules: Rules | None) -> bool:
        """Whether a list leaves out nothing but what the user has had."""
        filtered = options.category is not None or options.items is not None or options.exclude is not None
        return not filtered and rules is None and self.scorer.stock is None

    def _request(self, n: int, filters: Filters, rules: Rules | None) -> ListRequest:
        compiled = None if rules is None else compile_rules(rules, self.scorer)
        filters = filters.within(self.scorer.stock).within(None if compiled is None else compiled.allowed)
        return ListRequest(self.scorer, n, filters, compiled, None, 1, _THREADS)

    def _list(self, row: int, continued: Continued | None, options: ListOptions, rules: Rules | None = None) -> _List:
        scorer = self.scorer
        is_known = continued is None and (options.exclude_seen or scorer.rejected is None)
        if is_known and self._is_plain(options, rules):
            return _List(*scorer.ranker.top_n_one(row, options.n, options.exclude_seen), "model")
        if continued is not None and self._is_plain(options, rules):
            always, without_history = self._sees_sets
            is_set = always or (without_history and options.exclude_seen and continued.had is None)
            one = continued.as_one(is_set=is_set)
            top = scorer.encoder.top_n_for_items(scorer, one, options.n, options.exclude_seen, _THREADS)
            return _List(*top, "history")
        filters = self._filters(options.category, options.items, options.exclude)
        request = self._request(options.n, filters, rules)
        if continued is None:
            return _first(request.known(np.array([row], np.int64), options.exclude_seen), "model")
        users = scorer.encoder.fold_in(scorer, continued.histories, _THREADS)
        return _first(request.encoded(users, continued.left_out(options.exclude_seen)), "history")

    def _popular(self, n: int, filters: Filters, rules: Rules | None) -> _List:
        return _first(self._request(n, filters, rules).popular(), "popular")

    def _for_unknown(self, user_id: str | None, options: ListOptions, rules: Rules | None) -> list[Item]:
        if options.on_unknown == "skip":
            return []
        if options.on_unknown == "raise":
            if user_id is None:
                raise InvalidDataError("history: no item of it is known. Give at least one that is.")
            self._refuse_unknown(self.scorer, user_id)
        filters = self._filters(options.category, options.items, options.exclude)
        return self._items(-1, None, self._popular(options.n, filters, rules), 0)

    def _refuse_unknown(self, scorer: Scorer, user_id: str) -> None:
        user = scorer.user_ids.parse(user_id)
        if scorer.past is None and scorer.user_ids.position(user) >= 0:
            raise UnknownUserError(
                f"user {user_id!r} was forgotten (DELETE /v1/users), and nothing of them is known since. Ask for "
                "popular items, or by a history."
            )
        raise strangers(scorer, np.array([user], object), 1, scoring=True)

    def _filters(self, category: str | None, items: list[str] | None, exclude: list[str] | None) -> Filters:
        if category is None and items is None and exclude is None:
            return Filters()
        parse = self.scorer.item_ids.parse
        only = None if items is None else [parse(each) for each in items]
        filters = Filters.resolve(only, self._excluded(exclude), self.scorer.item_ids, _NOBODY)
        if category is not None:
            chosen = self.texts.in_category(category)
            filters.allow = chosen if filters.allow is None else chosen & filters.allow
        return filters

    def _excluded(self, given: list[str] | None) -> list[Any] | None:
        """What a list leaves out; nothing where the model knows none of it, as a shop sells new things, too. What is
        known in another spelling is refused where filters are read."""
        ids = self.scorer.item_ids
        parsed = [] if given is None else [ids.parse(each) for each in given]
        known = any(ids.position(each) >= 0 for each in parsed) or first_twin(parsed, ids) is not None
        return parsed if known else None

    def _items(self, row: int, continued: Continued | None, found: _List, n_reasons: int) -> list[Item]:
        positions, source = found.positions.tolist(), found.source
        texts = self.texts
        ids, names, categories = texts.ids, texts.names, texts.categories
        unbought = self.scorer.unbought
        items = [
            Item(
                ids[at],
                score,
                rank,
                source if unbought is None or not unbought[at] else "attributes",
                names[at],
                categories[at],
            )
            for rank, (at, score) in enumerate(zip(positions, found.scores.tolist(), strict=True), 1)
        ]
        if n_reasons:
            for item, reasons in zip(items, self._reasons(row, continued, positions, n_reasons), strict=True):
                item.reasons = reasons
        return items

    def _reasons(self, row: int, continued: Continued | None, targets: list[int], n: int) -> list[list[Reason]]:
        scorer = self.scorer
        if continued is not None:
            users: EncodedUsers = scorer.encoder.fold_in(scorer, continued.histories, _THREADS)
            found = top_reasons_of_history(scorer, continued.histories, users, np.array(targets, np.int64), n)
        elif row >= 0:
            items = np.array([targets], np.int32)
            one = TopN(items, np.zeros(items.shape, np.float32), np.array([len(targets)], np.int32))
            found = top_reasons(scorer, np.array([row], np.int64), one, n)
        else:
            return [[] for _ in targets]
        texts = self.texts
        return [[Reason(texts.ids[at], texts.names[at], adds) for at, adds in each] for each in found]


def _first(top: TopN, source: Source) -> _List:
    """The list of the only row."""
    n = int(top.counts[0])
    return _List(top.items[0, :n], top.scores[0, :n], source)
