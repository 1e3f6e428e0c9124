"""Lists that obey rules: ``Rules`` resolved to the items of a model, and rankings asked for until lists are proven.

A list by rules is defined over the ranking of all items that may be listed (``rust/core/src/rank/arrange.rs``). It is
made of the first items of that ranking, of the first of the boosted items alone, and of those that a quota wants; how
many, a few of the lists show where there are many. Where the core cannot prove that no item further down belongs into a
list, that user's rankings are asked for again, four times as long. So every list is exact, and most take one round.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import unit_rows
from ancf.data.csr import Csr
from ancf.data.ids import IdMap
from ancf.errors import InvalidParameterError
from ancf.scoring.filters import Filters, positions_of
from ancf.scoring.item_attributes import ItemAttributes
from ancf.scoring.requests import as_objects, unknown_items
from ancf.scoring.results import TopN
from ancf.scoring.rules import Rules
from ancf.scoring.scorer import Extent, Ranked, Scorer
from ancf.scoring.unknown_ids import first_twin

Ask = Callable[[NDArray[np.intp] | None, int, Filters], TopN]
"""The first n of the rankings of some of the rows that are requested (None: all), with filters of their own; the scores
are without the last step."""

AskSeveral = Callable[[NDArray[np.intp], list[tuple[int, Filters, Extent]]], list[Ranked]]
"""Several such rankings of the same rows, whose filters differ in what everybody may be listed alone, as far as each
has to go."""


class Ranking(NamedTuple):
    """The first items of each row, by position."""

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    counts: NDArray[np.int32]
    asked: int
    floors: NDArray[np.float32] | None
    """Of each row, the score below which items may be missing."""

    def first(self, n: int) -> "Ranking":
        """The first n of each row, of a ranking without floors."""
        if n >= self.asked:
            return self
        items, scores = np.ascontiguousarray(self.items[:, :n]), np.ascontiguousarray(self.scores[:, :n])
        return Ranking(items, scores, np.minimum(self.counts, n), n, None)


Sizes = dict[str, int]
"""How long rankings are: ``ranking`` of all items, ``boosted``, ``wanted`` and ``wanted_boosted`` of these alone."""

# How many times as long as a list the first ranking is, by what the rules hold.
_QUOTA_WIDTH, _POOL = 2, 3
_MORE = 5
_GROWTH = 4
# So many lists show, of at least so many, how long rankings must be: all but so few of them are proven.
_PROBED, _MIN_PROBED, _SHARE_UNPROVEN = 64, 1024, 0.02
# Boosts may turn the order of so many times as many wanted items around.
_BOOSTED_WANTED = 3
# Entries of rankings that are held at once.
_MAX_ENTRIES = 1 << 22
_MAX_COMPILED = 16


class CompiledRules:
    """Rules by the positions of one scorer's items."""

    def __init__(self, rules: Rules, scorer: Scorer) -> None:
        self.rules, self.scorer = rules, scorer
        n = len(scorer.item_ids)
        conditions = ItemAttributes(scorer)
        allowed = np.ones(n, bool)
        if rules.where is not None:
            allowed &= conditions.holds(rules.where, "where")
        self.denied = np.zeros(n, bool)
        if rules.deny:
            self.denied[positions_of("deny", rules.deny, scorer.item_ids)] = True
            allowed &= ~self.denied
        self.allowed = None if allowed.all() else allowed.astype(np.uint8)
        factors = np.ones(n)
        for text, factor in rules.boosts.items():
            factors[conditions.holds(text, "boosts")] *= factor
        at_most = [(conditions.codes(text, "at_most"), limit) for text, limit in rules.at_most.items()]
        at_least = [(conditions.holds(text, "at_least"), count) for text, count in rules.at_least.items() if count]
        pins = [
            (place, _position(scorer.item_ids, item)) for place, item in cast("Mapping[int, Any]", rules.pins).items()
        ]
        alike = None
        self.compares_vectors = bool(rules.diversity) and rules.diversity_by is None
        if self.compares_vectors and not (scorer.encoder.vectors_are_comparable and scorer.item_vectors.shape[1]):
            raise InvalidParameterError(
                f"diversity is {rules.diversity!r}, and {scorer.model} has no vectors that say what is like what. Set "
                "diversity_by to an attribute, such as 'category'."
            )
        if rules.diversity_by is not None:
            alike = conditions.codes(rules.diversity_by, "diversity_by")
        self.n_pins = len(pins)
        self.pinned = _mask(n, [item for _, item in pins]) if pins else None
        self.boosted = (factors > 1).astype(np.uint8) if (factors > 1).any() else None
        self.wanted = np.logical_or.reduce([flags for flags, _ in at_least]).astype(np.uint8) if at_least else None
        self.masks = {"ranking": None, "boosted": self.boosted, "wanted": self.wanted, "pins": self.pinned}
        if self.boosted is not None and self.wanted is not None:
            self.masks["wanted_boosted"] = self.boosted & self.wanted
        self.boosts = bool((factors != 1).any())
        self.factors = factors
        self.at_most, self.at_least = at_most, at_least
        self.arranges = bool(pins or at_most or at_least or self.boosts or rules.diversity)
        self._list_rules = _native.ListRules(
            n,
            factors=factors if self.boosts else None,
            at_most=at_most,
            at_least=[(flags.astype(np.uint8), count) for flags, count in at_least],
            pins=pins,
            diversity=rules.diversity or None,
            alike=alike,
        )

    def top_n(
        self,
        n_rows: int,
        N: int,
        filters: Filters,
        ask: Ask,
        ask_several: AskSeveral | None,
        faded: Csr | None,
        num_threads: int | None,
    ) -> TopN:
        """The lists of all rows; scores without the last step.

        Parameters
        ----------
        ask_several : None where rankings are asked for one by one
        faded : factors from 0 to 1 for some items of each row, optional
        """
        if not self.arranges and faded is None:
            return ask(None, N, filters)
        n_items = len(self.scorer.item_ids)
        several = one_by_one(ask) if ask_several is None else ask_several
        many = n_rows >= _MIN_PROBED
        sizes = widest = {name: min(n, n_items + 1) for name, n in self._widest(N, faded is not None, many).items()}
        if many:
            sizes = self._probed(n_rows, N, widest, filters, several, faded, num_threads)
        at_once = max(1, _MAX_ENTRIES // sizes["ranking"])
        parts = [
            self._arranged(
                np.arange(start, min(start + at_once, n_rows)), N, sizes, widest, filters, several, faded, num_threads
            )
            for start in range(0, n_rows, at_once)
        ]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return TopN(np.zeros((0, min(N, n_items)), np.int32), np.zeros((0, min(N, n_items)), np.float32), _NONE)
        return TopN(*(np.concatenate([part[at] for part in parts]) for at in range(3)))

    def used_up(self, item: int, chosen: list[int]) -> str | None:
        """The quota "at most" that a list of these items leaves no room in for another; None: there is none."""
        for text, (codes, limit) in zip(self.rules.at_most, self.at_most, strict=True):
            if codes[item] >= 0 and int((codes[chosen] == codes[item]).sum()) >= limit:
                return f"{text}: {limit}"
        return None

    def _widest(self, N: int, fades: bool, many: bool) -> Sizes:
        """Sizes that prove nearly every list, without those of rankings that the rules do not need."""
        # What no factor moves down and no quota keeps out is in the first N of all, or boosted, wanted or a pin.
        sizes = {"ranking": N}
        if self.at_most or fades or (self.factors < 1).any():
            sizes["ranking"] = _QUOTA_WIDTH * N + _MORE
        if self.rules.diversity:
            sizes["ranking"] = max(sizes["ranking"], _POOL * N + self.n_pins)
        if self.boosted is not None:
            sizes["boosted"] = N + _MORE
        if self.wanted is not None:
            sizes["wanted"] = self._n_owed + _MORE
        if self.boosted is not None and self.wanted is not None:
            # For a few lists a longer ranking takes less time than one more.
            name, times = ("wanted_boosted", 1) if many else ("wanted", _BOOSTED_WANTED)
            sizes[name] = (self._n_owed + _MORE) * times
        return sizes

    def _probed(
        self,
        n_rows: int,
        N: int,
        widest: Sizes,
        filters: Filters,
        ask: AskSeveral,
        faded: Csr | None,
        num_threads: int | None,
    ) -> Sizes:
        """Sizes that prove nearly as many of a few lists as the widest do."""
        # Diversity reads all of a ranking; one of boosted items alone ends by itself.
        wanted = [self._n_owed, self._n_owed + 1]
        shorter = [] if self.rules.diversity else [N, N + _MORE]
        smaller = {"wanted": wanted, "wanted_boosted": wanted, "ranking": shorter}
        smaller = {name: [n for n in smaller[name] if n < widest.get(name, 0)] for name in smaller}
        if not any(smaller.values()):
            return widest
        rows = np.arange(0, n_rows, n_rows // _PROBED)[:_PROBED]
        rankings, pins = self._rankings(rows, widest, filters, ask, {})

        def unproven(sizes: Sizes) -> int:
            cut = {name: rankings[name].first(n) for name, n in sizes.items()}
            return int((~self._chosen(N, cut, pins, rows, faded, num_threads)[1]).sum())

        most = unproven(widest) + int(_SHARE_UNPROVEN * _PROBED)
        sizes = dict(widest)
        for name in smaller:
            for n in smaller[name]:
                if unproven(sizes | {name: n}) <= most:
                    sizes[name] = n
                    break
        return sizes

    def _rankings(
        self,
        rows: NDArray[np.intp],
        sizes: Sizes,
        filters: Filters,
        ask: AskSeveral,
        extents: dict[str, Extent],
        pins: TopN | None = None,
    ) -> tuple[dict[str, Ranking], TopN | None]:
        """Rankings of these sizes as far as they have to go, and that of the pins, where it is not there yet."""
        masks = self.masks
        if pins is None and self.pinned is not None:
            sizes = sizes | {"pins": self.n_pins + 1}
        if not sizes:
            return {}, pins
        sizes = {name: min(n, len(self.scorer.item_ids) + 1) for name, n in sizes.items()}
        of_rows = filters.rows(rows)
        found = ask(rows, [(n, of_rows.within(masks[name]), extents.get(name)) for name, n in sizes.items()])
        rankings = {
            name: Ranking(*top, sizes[name], floors)
            for name, (top, floors) in zip(sizes, found, strict=True)
            if name != "pins"
        }
        return rankings, found[-1][0] if "pins" in sizes else pins

    def _extents(self, sizes: Sizes, N: int) -> dict[str, Extent]:
        """How far these rankings have to go in view of each other: what a list lacks then is asked for once more."""
        places, most = {name: at for at, name in enumerate(sizes)}, float(self.factors.max())
        extents: dict[str, Extent] = {}
        if self.boosted is not None:
            extents["boosted"] = (places["ranking"], most)
        if len(self.at_least) == 1:
            # Boosted items push others out of the list.
            extents["wanted"] = (places["ranking"], N if self.boosted is None else N // 2, self._n_owed)
        if "wanted_boosted" in places:
            extents["wanted_boosted"] = (places["wanted"], most)
        return extents

    def _chosen(
        self,
        N: int,
        rankings: dict[str, Ranking],
        pins: TopN | None,
        rows: NDArray[np.intp],
        faded: Csr | None,
        num_threads: int | None,
    ) -> tuple[TopN, NDArray[np.bool_]]:
        """The lists that the core chooses from rankings, and which of them are proven."""
        lists, proven = self._list_rules.arrange(
            N,
            **rankings,
            pins=None if pins is None else (*pins, self.n_pins + 1, None),
            faded=None if faded is None else faded.take(rows),
            vectors=self._unit_vectors() if self.compares_vectors else None,
            num_threads=num_threads,
        )
        return TopN(*lists), proven

    def _arranged(
        self,
        rows: NDArray[np.intp],
        N: int,
        sizes: Sizes,
        widest: Sizes,
        filters: Filters,
        ask: AskSeveral,
        faded: Csr | None,
        num_threads: int | None,
    ) -> TopN:
        """The lists of some rows: those not proven by rankings of these sizes get the widest, then ever longer ones."""
        found: TopN | None = None
        at = np.arange(len(rows))
        pins: TopN | None = None
        for wanted, extents in self._attempts(sizes, widest, N):
            if found is not None and len(at) * max(wanted.values()) > _MAX_ENTRIES and len(at) > 1:
                for half in np.array_split(at, 2):
                    settled = self._arranged(rows[half], N, wanted, wanted, filters, ask, faded, num_threads)
                    for whole, part in zip(found, settled, strict=True):
                        whole[half] = part
                return found
            rankings, pins = self._rankings(rows[at], wanted, filters, ask, extents, pins)
            lists, proven = self._chosen(N, rankings, pins, rows[at], faded, num_threads)
            if found is None:
                found = lists
            else:
                for whole, part in zip(found, lists, strict=True):
                    whole[at] = part
            if proven.all():
                break
            unproven = np.flatnonzero(~proven)
            at = at[unproven]
            pins = None if pins is None else pins.rows(unproven)
        assert found is not None
        return found

    def _attempts(self, sizes: Sizes, widest: Sizes, N: int) -> Iterator[tuple[Sizes, dict[str, Extent]]]:
        """What is asked for one after the other until all lists are proven."""
        extents = self._extents(sizes, N)
        yield sizes, extents
        all_wanted = {name: extent for name, extent in extents.items() if name != "wanted"}
        if sizes != widest or extents != all_wanted:
            yield widest, all_wanted
        while True:
            widest = {name: n * _GROWTH for name, n in widest.items()}
            yield widest, {}

    @property
    def _n_owed(self) -> int:
        return sum(count for _, count in self.at_least)

    def _unit_vectors(self) -> NDArray[np.float32]:
        _, vectors = self.scorer.lazy_ranker("items cosine", lambda: unit_rows(self.scorer.item_vectors))
        return vectors


_NONE = np.zeros(0, np.int32)


def forgive_deny(rules: Rules, ids: IdMap) -> tuple[Rules, int]:
    """Rules of a file, which outlives models, and how many of the ids that they deny a model does not know.

    That it knows none of them is an error of a call, and only worth a warning for a file: nothing is denied then. An id
    that is known in another spelling stays an error.
    """
    denied: list[Any] = list(cast("tuple[Any, ...]", rules.deny))
    unknown = [each for each in denied if ids.position(each) < 0]
    if not unknown or len(unknown) < len(denied) or first_twin(unknown, ids) is not None:
        return rules, len(unknown)
    return Rules(**{**rules.to_dict(), "deny": ()}), len(unknown)


def one_by_one(ask: Ask) -> AskSeveral:
    """Several rankings, each asked for by itself."""
    return lambda rows, wanted: [(ask(rows, n, filters), None) for n, filters, _ in wanted]


def compile_rules(rules: Rules, scorer: Scorer) -> CompiledRules:
    """The rules by the positions of a scorer's items, made once for both."""
    compiled: dict[Rules, CompiledRules] = scorer.compiled
    found = compiled.get(rules)
    if found is None:
        found = CompiledRules(rules, scorer)
        if len(compiled) >= _MAX_COMPILED:
            compiled.clear()
        compiled[rules] = found
    return found


def _mask(n: int, positions: list[int]) -> NDArray[np.uint8]:
    mask = np.zeros(n, np.uint8)
    mask[positions] = 1
    return mask


def _position(ids: IdMap, item: Any) -> int:
    position = ids.position(item)
    if position < 0:
        raise unknown_items(as_objects([item]), ids)
    return position
