"""What a call wants of some rows, and the lists that this is: rankings of users or of histories, and rules."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import Csr, ItemSets
from ancf.scoring.arranging import Ask, AskByRules, CompiledRules, compile_rules
from ancf.scoring.filters import Filters, Requested, count_each
from ancf.scoring.parts import EncodedUsers
from ancf.scoring.past import Past
from ancf.scoring.results import TopN, merge_lists
from ancf.scoring.rules import Rules
from ancf.scoring.scorer import Scorer
from ancf.scoring.top_n import finished, top_n, top_n_by_rules, top_n_popular


@dataclass(frozen=True)
class ListRequest:
    """What a call wants of some rows: how long the lists are, and what decides what they hold."""

    scorer: Scorer
    N: int
    filters: Filters
    rules: CompiledRules | None
    faded: Csr | None
    """A factor from 0 to 1 for items that were shown before."""
    n_rows: int
    num_threads: int | None

    @classmethod
    def of(
        cls,
        scorer: Scorer,
        N: int,
        items: Any,
        filter_items: Any,
        rules: Rules | None,
        shown: Any,
        requested: Requested,
        num_threads: int | None,
    ) -> Self:
        """All of a call that decides what its lists hold, resolved to positions."""
        filters = Filters.resolve(items, filter_items, scorer.item_ids, requested).within(scorer.stock)
        rules = Rules() if rules is None and shown is not None else rules
        compiled = None if rules is None else compile_rules(rules, scorer)
        faded = None
        if rules is not None and shown is not None:
            sets, counts = count_each("shown", shown, scorer.item_ids, requested)
            factors = np.maximum(rules.fade**counts, float(np.finfo(np.float32).tiny)).astype(np.float32)
            faded = Csr(sets.indptr, sets.items, factors)
        if compiled is not None:
            filters = filters.within(compiled.allowed)
        return cls(scorer, N, filters, compiled, faded, len(requested.users), num_threads)

    def rows(self, which: NDArray[np.intp]) -> "ListRequest":
        """The same for some of the rows."""
        faded = None if self.faded is None else self.faded.take(which)
        return replace(self, filters=self.filters.rows(which), faded=faded, n_rows=len(which))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that decides beside the rules, by name."""
        faded = {} if self.faded is None else {f"faded.{name}": part for name, part in self.faded._asdict().items()}
        return {**self.filters.arrays(), **faded}

    def known(self, positions: NDArray[np.int64] | None, filter_seen: bool) -> TopN:
        """The lists of users of the training table; None: of all."""
        scorer = self.scorer
        if scorer.past is None:
            shift = scorer.user_shift
            return self.lists(
                self._rows_of(positions, filter_seen),
                shift if shift is None or positions is None else shift[positions],
                self._by_rules_of(positions, filter_seen),
            )
        # At a moment, who bought something later is as their history up to then makes them.
        past = scorer.past
        rows = np.arange(len(past.is_cut)) if positions is None else positions
        whole, cut = np.flatnonzero(~past.is_cut[rows]), np.flatnonzero(past.is_cut[rows])
        shift = None if scorer.user_shift is None else scorer.user_shift[rows[whole]]
        top = self.rows(whole).lists(
            self._rows_of(rows[whole], filter_seen), shift, self._by_rules_of(rows[whole], filter_seen)
        )
        if not len(cut):
            return top
        encoded, seen = self._folded(past, rows[cut], filter_seen)
        return merge_lists(len(rows), whole, top, cut, self.rows(cut).encoded(encoded, seen))

    def encoded(self, users: EncodedUsers, seen: ItemSets | None) -> TopN:
        """The lists of bare histories."""
        return self.lists(self._encoded_rows(users, seen), users.shift, self._encoded_by_rules(users, seen))

    def _folded(self, past: Past, rows: NDArray[np.int64], filter_seen: bool) -> tuple[EncodedUsers, ItemSets | None]:
        """Users as their histories up to a moment make them, and what their lists leave out."""
        _, users = self.scorer.folded(past, rows, self.num_threads)
        had = past.had.take(rows) if filter_seen else None
        rejected = None if self.scorer.rejected is None else self.scorer.rejected.take(rows)
        return users, rejected if had is None else had if rejected is None else had.union(rejected)

    def _rows_of(self, positions: NDArray[np.int64] | None, filter_seen: bool) -> Ask:
        """The rankings of users as they are in training."""

        def ask(rows: NDArray[np.intp] | None, n: int, filters: Filters) -> TopN:
            at = positions if rows is None else rows if positions is None else positions[rows]
            return top_n(
                self.scorer, at, n, filter_seen=filter_seen, filters=filters, num_threads=self.num_threads, finish=False
            )

        return ask

    def _by_rules_of(self, positions: NDArray[np.int64] | None, filter_seen: bool) -> AskByRules:
        """The lists by rules of these users."""

        def ask(n: int, filters: Filters, rules: dict[str, Any]) -> TopN | None:
            return top_n_by_rules(
                self.scorer, positions, n, rules, filter_seen=filter_seen, filters=filters, num_threads=self.num_threads
            )

        return ask

    def _encoded_by_rules(self, users: EncodedUsers, seen: ItemSets | None) -> AskByRules:
        """The lists by rules of bare histories."""

        def ask(n: int, filters: Filters, rules: dict[str, Any]) -> TopN | None:
            if filters.allow_each is not None:
                return None
            masks: dict[str, Any] = {"allow": filters.allow, "deny": filters.deny, "num_threads": self.num_threads}
            found = self.scorer.ranker.top_n_by_rules_for(
                users.vectors, users.history, filters.excluded(seen), n, **rules, **masks
            )
            return None if found is None else TopN(*found)

        return ask

    def _encoded_rows(self, users: EncodedUsers, seen: ItemSets | None) -> Ask:
        """The rankings of bare histories."""

        def ask(rows: NDArray[np.intp] | None, n: int, filters: Filters) -> TopN:
            vectors, history, own = users.vectors, users.history, seen
            if rows is not None:
                vectors = vectors[rows]
                history = None if history is None else history.take(rows)
                own = None if own is None else own.take(rows)
            return TopN(
                *self.scorer.ranker.top_n_for(
                    vectors,
                    history,
                    filters.excluded(own),
                    n,
                    num_threads=self.num_threads,
                    finish=False,
                    **filters.keywords(),
                )
            )

        return ask

    def whole_ranking(self, positions: NDArray[np.int64], filter_seen: bool) -> list[int]:
        """All that may be listed to one user of the training table, by score after boosts."""
        n_items = len(self.scorer.item_ids)
        past = self.scorer.past
        ask = self._rows_of(positions, filter_seen)
        if past is not None and past.is_cut[positions[0]]:
            ask = self._encoded_rows(*self._folded(past, positions, filter_seen))
        top = ask(None, n_items, self.filters)
        count = int(top.counts[0])
        items, scores = top.items[0, :count], top.scores[0, :count].astype(np.float64)
        factors = np.ones(n_items) if self.rules is None else self.rules.factors.copy()
        if self.faded is not None:
            shown, by = self.faded.row(0)
            factors[shown] *= by
        boosted = np.where(scores >= 0, scores * factors[items], scores / factors[items]).astype(np.float32)
        found: list[int] = items[np.lexsort((items, -boosted))].tolist()
        return found

    def popular(self) -> TopN:
        """The lists of people of whom nothing is known; their scores have no last step."""

        def ask(rows: NDArray[np.intp] | None, n: int, filters: Filters) -> TopN:
            return top_n_popular(self.scorer, self.n_rows if rows is None else len(rows), n, filters, self.num_threads)

        return self.ranked(ask)

    def lists(self, ask: Ask, shift: NDArray[np.float32] | None, by_rules: AskByRules | None = None) -> TopN:
        """The lists made of rankings, with the last step of their scores."""
        return finished(self.scorer, self.ranked(ask, by_rules), shift)

    def ranked(self, ask: Ask, by_rules: AskByRules | None = None) -> TopN:
        """The lists made of rankings; ``by_rules`` makes lists that obey rules at once."""
        if self.rules is None:
            return ask(None, self.N, self.filters)
        return self.rules.top_n(self.n_rows, self.N, self.filters, ask, by_rules, self.faded, self.num_threads)
