"""Lists that obey rules: ``Rules`` resolved to the items of a model.

A list by rules is defined over the ranking of all items that may be listed (``rust/core/src/rank/arrange.rs``). The
core makes it of the first items of that ranking, of the first of the boosted items alone, and of those that a quota
wants, as far as each list needs them. Where rankings cannot but be asked for one by one, they are longer at once, and
users whose lists are not proven are asked for again, four times as long. So every list is exact.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

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
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import first_twin

Ask = Callable[[NDArray[np.intp] | None, int, Filters], TopN]
"""The first n of the rankings of some of the rows that are requested (None: all), with filters of their own; the scores
are without the last step."""

AskByRules = Callable[[int, Filters, dict[str, Any]], TopN | None]
"""The lists by rules of n items of all rows, if the core makes them by itself; what it has to know of the rules is by
name."""

# How many times as long as a list a ranking is that is asked for by itself, by what the rules hold.
_QUOTA_WIDTH, _POOL = 2, 3
_MORE = 5
_GROWTH = 4
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
        self.masks = {"ranking": None, "boosted": self.boosted, "wanted": self.wanted}
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
            allowed=self.allowed,
        )

    def top_n(
        self,
        n_rows: int,
        N: int,
        filters: Filters,
        ask: Ask,
        ask_by_rules: AskByRules | None,
        faded: Csr | None,
        num_threads: int | None,
    ) -> TopN:
        """The lists of all rows; scores without the last step.

        Parameters
        ----------
        ask_by_rules : None where rankings are asked for one by one
        faded : factors from 0 to 1 for some items of each row, optional
        """
        if not self.arranges and faded is None:
            return ask(None, N, filters)
        if ask_by_rules is not None:
            # What the rules allow, the core knows.
            others = (
                Filters(None, filters.allow_each, filters.deny, filters.deny_each)
                if filters.allow is self.allowed
                else filters
            )
            found = ask_by_rules(N, others, self._keywords(faded))
            if found is not None:
                return found
        n_items = len(self.scorer.item_ids)
        shape = n_rows, min(N, n_items)
        lists = TopN(np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(n_rows, np.int32))
        self._arrange(
            lists, np.arange(n_rows), N, self._lengths(N, faded is not None), filters, ask, faded, num_threads
        )
        return lists

    def used_up(self, item: int, chosen: list[int]) -> str | None:
        """The quota "at most" that a list of these items leaves no room in for another; None: there is none."""
        for text, (codes, limit) in zip(self.rules.at_most, self.at_most, strict=True):
            if codes[item] >= 0 and int((codes[chosen] == codes[item]).sum()) >= limit:
                return f"{text}: {limit}"
        return None

    def _keywords(self, faded: Csr | None) -> dict[str, Any]:
        """What the core has to know of these rules."""
        return {
            "rules": self._list_rules,
            "faded": faded,
            "vectors": self._unit_vectors() if self.compares_vectors else None,
        }

    def _lengths(self, N: int, fades: bool) -> dict[str, int]:
        """How long rankings are that prove nearly every list, without those that the rules do not need."""
        # What no factor moves down and no quota keeps out is in the first N of all, or boosted, wanted or a pin.
        lengths = {"ranking": N}
        if self.at_most or fades or (self.factors < 1).any():
            lengths["ranking"] = _QUOTA_WIDTH * N + _MORE
        if self.rules.diversity:
            lengths["ranking"] = max(lengths["ranking"], _POOL * N + self.n_pins)
        owed = sum(count for _, count in self.at_least)
        for name, n in {"boosted": N, "wanted": owed, "wanted_boosted": owed}.items():
            if self.masks.get(name) is not None:
                lengths[name] = n + _MORE
        return lengths

    def _arrange(
        self,
        lists: TopN,
        rows: NDArray[np.intp],
        N: int,
        lengths: dict[str, int],
        filters: Filters,
        ask: Ask,
        faded: Csr | None,
        num_threads: int | None,
    ) -> None:
        """Puts in the lists of some rows, from rankings of these lengths or, where need be, longer ones."""
        lengths = {name: min(n, len(self.scorer.item_ids) + 1) for name, n in lengths.items()}
        at_once = max(1, _MAX_ENTRIES // max(lengths.values()))
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            of_rows = filters.rows(some)
            found: dict[str, Any] = {
                name: (*ask(some, n, of_rows.within(self.masks[name])), n) for name, n in lengths.items()
            }
            if self.pinned is not None:
                n = self.n_pins + 1
                found["pins"] = (*ask(some, n, of_rows.within(self.pinned)), n)
            keywords = self._keywords(None if faded is None else faded.take(some))
            del keywords["rules"]
            top, proven = self._list_rules.arrange(N, **found, **keywords, num_threads=num_threads)
            for whole, part in zip(lists, top, strict=True):
                whole[some] = part
            if not proven.all():
                longer = {name: n * _GROWTH for name, n in lengths.items()}
                self._arrange(lists, some[~proven], N, longer, filters, ask, faded, num_threads)

    def _unit_vectors(self) -> NDArray[np.float32]:
        _, vectors = self.scorer.lazy_ranker("items cosine", lambda: unit_rows(self.scorer.item_vectors))
        return vectors


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
