"""The contract of every recommender: one scorer, raw ids in and out, the same answers by every way.

A model learns in ``fit`` and ends with ``_install``: ids, what each user has seen, and a ``Ranker``, the one scorer of
the Rust core that ``recommend``, ``recommend_all``, ``predict``, ``explain`` and the evaluation all ask, so that a pair
has the same bits everywhere. What a model adds is small: ``fit``, ``_fold_in`` for bare histories, and for
``explain`` either ``_dense_contributions`` (what each item of the history adds) or ``_base_contributions``.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_choice, check_threads
from ancf.data.ids import IdMap
from ancf.errors import (
    AncfError,
    InvalidDataError,
    InvalidParameterError,
    ModelFileError,
    NotFittedError,
    UnknownUserError,
)
from ancf.infer import Explanation, Filters, Recommendations, as_sequence, is_one
from ancf.models._asking import (
    Histories,
    Top,
    as_ids,
    check_memory,
    check_n,
    is_history,
    merged,
    objects,
    one_history,
    read_histories,
    short_history,
    unknown_items,
    unknown_users,
)
from ancf.models._explain import explain
from ancf.models._state import restore, served_state
from ancf.params import Options

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions

_UNKNOWN = ("raise", "popular", "skip")


class Target(NamedTuple):
    """What target attention knows of the items beside their vectors."""

    keys: NDArray[np.float32]  # (n_items, d_keys), already divided by √d_keys
    queries: NDArray[np.float32]  # (n_items, d_keys)
    item_logits: NDArray[np.float32]  # (n_items,)
    attention_exponent: float


Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]
ShortList = tuple[NDArray[np.int32], NDArray[np.float32]]


class Recommender(Options, ABC):
    """What every model of ancf can do once it is fitted or loaded.

    Attributes
    ----------
    user_ids_, item_ids_ : IdMap, the users and items of the training table
    item_names_ : array of text aligned with ``item_ids_``, or None
    """

    registry: ClassVar[dict[str, type["Recommender"]]] = {}

    user_ids_: IdMap
    item_ids_: IdMap
    item_names_: NDArray[Any] | None
    _ranker: "_native.Ranker | None" = None
    _seen: tuple[NDArray[np.int64], NDArray[np.int32]]
    _item_vectors: NDArray[np.float32]
    _user_vectors: NDArray[np.float32]
    _neighbours: Rows | None
    _history: Rows | None
    _head: str
    _sharpness: NDArray[np.float32] | None
    _item_bias: NDArray[np.float32] | None
    _target: "Target | None"
    _user_shift: NDArray[np.float32] | None
    _link: str
    _popular_ranker: "_native.Ranker | None"
    _similar_rankers: "dict[str, tuple[_native.Ranker, NDArray[np.float32]]]"
    num_threads: int | None = None
    # Whether the vectors say what is like what; a model of mere popularity has vectors too.
    _vectors_compare: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        Recommender.registry[cls.__name__] = cls

    # ---- what a model provides

    @abstractmethod
    def fit(self, interactions: "Interactions", *, validation: "Interactions | None" = None) -> Self:
        """Learn from a table of interactions; returns self. Models that need no validation table pass it over."""
        raise NotImplementedError

    @abstractmethod
    def _fold_in(self, histories: Histories) -> tuple[NDArray[np.float32], Rows | None]:
        """User vectors (m, d) for bare histories, and the weighted history that the sparse part of the score reads."""
        raise NotImplementedError

    def _fold_in_shift(self, histories: Histories) -> NDArray[np.float32] | None:
        """What is added to the scores of bare histories that come out (m,), for models that have such numbers."""
        return None

    def _base_contributions(self, vector: NDArray[np.float32], item: int) -> dict[str, float]:
        """What in the score of the dense part does not come from single items of the history."""
        if not self._item_vectors.shape[1]:
            return {} if self._item_bias is None else {"the item's bias": float(self._item_bias[item])}
        parts = vector.astype(np.float64) * self._item_vectors[item]
        if self._head == "factor_attention" and self._sharpness is not None:
            logits = self._sharpness * parts
            attention = np.exp(logits - logits.max())
            parts = parts * (attention / attention.sum())
        base = {"the user's factors": float(parts.sum())}
        if self._item_bias is not None:
            base["the item's bias"] = float(self._item_bias[item])
        return base

    def _dense_contributions(self, histories: Histories, user: int | None, item: int) -> NDArray[np.float64] | None:
        """What each item of one history adds to the dense part; None where it cannot be told (then see above)."""
        return None

    def _beside_contributions(self, vector: NDArray[np.float32], item: int, told: float) -> dict[str, float]:
        """What the dense part of a score has beside the history's contributions, which add up to ``told``."""
        return {}

    # ---- what a model calls

    def _training_data(self, interactions: Any, validation: Any = None) -> "Interactions":
        """The training table over exactly the ids that occur in it; both tables are looked at."""
        from ancf.data.interactions import Interactions

        check_threads(self.num_threads)

        def checked(table: Any, role: str = "") -> Interactions:
            if not isinstance(table, Interactions):
                raise InvalidDataError(
                    f"fit takes ancf.Interactions{role}, not {type(table).__name__}. "
                    "Use ancf.read_interactions(table) or ancf.Interactions.from_ids(user=..., item=...)."
                )
            return table

        data = checked(interactions)
        if validation is not None:
            checked(validation, " as validation")
        if not len(data):
            raise InvalidDataError("fit: the table holds no interactions. Look at its report to see where they went.")
        return data.compact()

    def _install(
        self,
        *,
        user_ids: IdMap,
        item_ids: IdMap,
        item_names: NDArray[Any] | None,
        seen: tuple[NDArray[np.int64], NDArray[np.int32]],
        item_vectors: NDArray[np.float32],
        user_vectors: NDArray[np.float32],
        neighbours: Rows | None = None,
        history: Rows | None = None,
        head: str = "inner",
        sharpness: NDArray[np.float32] | None = None,
        item_bias: NDArray[np.float32] | None = None,
        target: Target | None = None,
        user_shift: NDArray[np.float32] | None = None,
        link: str = "identity",
    ) -> None:
        """Make this the model that answers; everything is built before anything is replaced."""
        ranker = _native.Ranker(
            item_vectors,
            neighbours=neighbours,
            head=head,
            sharpness=sharpness,
            item_bias=item_bias,
            link=link,
            **({} if target is None else target._asdict()),
        )
        ranker.set_users(user_vectors, history, seen, user_shift)
        self.user_ids_, self.item_ids_, self.item_names_ = user_ids, item_ids, item_names
        self._item_vectors, self._user_vectors = item_vectors, user_vectors
        self._neighbours, self._history, self._seen = neighbours, history, seen
        self._head, self._sharpness, self._item_bias = head, sharpness, item_bias
        self._target, self._user_shift, self._link = target, user_shift, link
        self._popular_ranker = None
        self._similar_rankers = {}
        self._ranker = ranker

    def _fitted(self) -> "_native.Ranker":
        if self._ranker is None:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet. Call fit(interactions) first, or ancf.load(path)."
            )
        check_threads(self.num_threads)
        return self._ranker

    # ---- recommending

    def recommend(
        self,
        users: Any,
        N: int = 10,
        *,
        filter_already_liked_items: bool = True,
        items: Any = None,
        filter_items: Any = None,
        on_unknown: str = "raise",
    ) -> Recommendations:
        """The N best items for one or several users.

        Parameters
        ----------
        users : id or sequence of ids
            As they stood in the training table; one id gives 1-D results.
        N : int, at least 1
            Fewer rows come back where fewer items are eligible; never padding.
        filter_already_liked_items : bool
            Leave out what the user had in training.
        items : ids, mask, mapping or list of lists, optional
            What alone may be recommended: one list for all, a boolean mask over ``item_ids_.values``, a mapping
            user → ids, or one list for each user. Items the model does not know are passed over.
        filter_items : id or ids, optional
            What may not be recommended.
        on_unknown : "raise", "popular" or "skip"
            What becomes of users that were not in training: an error, the most popular items (marked ``popular`` in the
            column ``source``), or an empty list.

        Returns
        -------
        Recommendations
            Unpacks to ``ids`` (n_users × N) and ``scores`` (float32), best first, equal scores in the order of
            the item ids.

        Raises
        ------
        UnknownUserError
            If a user was not in training and ``on_unknown="raise"``; names the ids.
        InvalidParameterError, InvalidDataError, NotFittedError

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> model = ancf.ItemKNN().fit(data)
        >>> ids, scores = model.recommend(1, N=2)
        >>> ids.tolist()
        ['c']
        """
        # One known user without lists of items is answered on this short path; it is what a shop waits for.
        ranker = self._ranker
        plain = items is None and filter_items is None and on_unknown in _UNKNOWN
        if ranker is not None and plain and type(N) is int and N > 0:
            kind = type(users)
            if kind is str or kind is int or isinstance(users, np.generic):
                user = self.user_ids_.position(users)
                if user >= 0:
                    best, scores = ranker.top_n_one(user, N, filter_already_liked_items)
                    return Recommendations(users, self.item_ids_, best, scores, None, "model", self.item_names_, True)
        ranker = self._fitted()
        N = check_n(N)
        check_choice("on_unknown", on_unknown, _UNKNOWN)
        single = is_one(users)
        asked, positions = self._users(users, single)
        unknown = positions < 0
        if unknown.any() and on_unknown == "raise":
            raise self._unknown_users(asked[unknown], len(asked))
        filters = Filters.of(items, filter_items, self.item_ids_, asked)
        check_memory(len(asked), min(N, len(self.item_ids_)))
        known = np.flatnonzero(~unknown)
        top = ranker.top_n(
            positions[known],
            N,
            filter_seen=bool(filter_already_liked_items),
            num_threads=self.num_threads,
            **filters.rows(known).keywords(),
        )
        sources: Any = "model"
        if len(known) < len(asked):
            others = np.flatnonzero(unknown)
            rest = self._popular(len(others), N, filters.rows(others)) if on_unknown == "popular" else None
            top = merged(len(asked), known, top, others, rest)
            sources = np.where(unknown, "popular", "model").astype(object)
        return self._answer(asked, top, sources, single)

    def recommend_for_history(
        self,
        history: Any,
        N: int = 10,
        *,
        weights: Any = None,
        times: Any = None,
        filter_already_liked_items: bool = True,
        items: Any = None,
        filter_items: Any = None,
        on_unknown: str = "raise",
    ) -> Recommendations:
        """The N best items for somebody of whom only the purchases are known.

        Parameters
        ----------
        history : item ids, mapping item → weight, or a list of either
            One history gives 1-D results, a list of histories one list for each.
        weights, times : numbers and times (seconds since 1970), shaped like ``history``, optional
        on_unknown : "raise", "popular" or "skip"
            What becomes of items that were not in training: an error, or they are passed over. A history of which
            nothing is left is an error, gets the most popular items, or an empty list.

        Other parameters, and the result, are those of ``recommend``; ``user_id`` is the number of the history, from 0.

        Raises
        ------
        UnknownItemError
            If an item was not in training and ``on_unknown="raise"``; names the ids.
        """
        ranker = self._fitted()
        N = check_n(N)
        check_choice("on_unknown", on_unknown, _UNKNOWN)
        if type(history) is list and weights is None and times is None and items is None and filter_items is None:
            short = short_history(history, self.item_ids_)
            if short is not None:
                best, scores = self._short_list(short, N, bool(filter_already_liked_items))
                return Recommendations(0, self.item_ids_, best, scores, None, "history", self.item_names_, True)
        single = is_history(history)
        lists = [history] if single else list(history)
        as_lists = (lambda values: None if values is None else [values]) if single else (lambda values: values)
        histories = self._histories(lists, as_lists(weights), as_lists(times), on_unknown)
        asked = np.arange(len(lists))
        filters = Filters.of(items, filter_items, self.item_ids_, asked)
        check_memory(len(asked), min(N, len(self.item_ids_)))
        empty = np.diff(histories.indptr) == 0
        if empty.any() and on_unknown == "raise":
            raise InvalidDataError(
                f"history {int(np.flatnonzero(empty)[0])} is empty. Give at least one item, or choose "
                'on_unknown="popular" or "skip".'
            )
        vectors, weighted = self._fold_in(histories)
        top = ranker.top_n_for(
            vectors,
            weighted,
            (histories.indptr, histories.items) if filter_already_liked_items else None,
            N,
            shift=self._fold_in_shift(histories),
            num_threads=self.num_threads,
            **filters.keywords(),
        )
        sources: Any = "history"
        if empty.any():
            others, known = np.flatnonzero(empty), np.flatnonzero(~empty)
            rest = self._popular(len(others), N, filters.rows(others)) if on_unknown == "popular" else None
            kept = (top[0][known], top[1][known], top[2][known])
            top = merged(len(asked), known, kept, others, rest)
            sources = np.where(empty, "popular", "history").astype(object)
        return self._answer(asked, top, sources, single)

    def _short_list(self, positions: list[int], N: int, filter_seen: bool) -> ShortList:
        """Items and scores for one plain history of known items, given as rising positions."""
        history = one_history(positions)
        vectors, weighted = self._fold_in(history)
        exclude = (history.indptr, history.items) if filter_seen else None
        shift = self._fold_in_shift(history)
        items, scores, counts = self._fitted().top_n_for(
            vectors, weighted, exclude, N, shift=shift, num_threads=self.num_threads
        )
        return items[0, : counts[0]], scores[0, : counts[0]]

    def recommend_all(
        self,
        N: int = 10,
        *,
        out: str | Path | None = None,
        filter_already_liked_items: bool = True,
        items: Any = None,
        filter_items: Any = None,
        resume: bool = False,
        show_progress: bool | None = None,
    ) -> Any:
        """The N best items for every user of the training table, in memory or, with ``out=``, streamed into a file.

        Parameters
        ----------
        N : int, at least 1
        out : path ending in .parquet, .csv or .jsonl, optional
            Written as the lists are found, with memory that does not depend on the number of users. The file appears
            when it is complete; an interrupted call leaves none.
        items, filter_items, filter_already_liked_items
            As in ``recommend``.
        resume : bool
            With ``out``: keep finished parts when interrupted, and go on from those of an earlier call.
        show_progress : bool, optional
            A progress bar on stderr; by default where that is a terminal.

        Returns
        -------
        Recommendations, or with ``out`` a ``StreamResult`` with the path and the number of users and rows.

        Raises
        ------
        InvalidParameterError
            If the lists would not fit into memory (names ``out=`` as the way out), or the file's kind is unknown.
        """
        ranker = self._fitted()
        N = check_n(N)
        if out is not None:
            from ancf.stream import stream_all

            return stream_all(
                self, N, Path(out), filter_already_liked_items, items, filter_items, resume, show_progress
            )
        if resume:
            raise InvalidParameterError("resume=True needs out=, the file whose parts are to be taken up.")
        users = self.user_ids_.values
        check_memory(len(users), min(N, len(self.item_ids_)))
        filters = Filters.of(items, filter_items, self.item_ids_, users)
        top = ranker.top_n(
            None,
            N,
            filter_seen=bool(filter_already_liked_items),
            num_threads=self.num_threads,
            **filters.keywords(),
        )
        return self._answer(users, top, "model", False)

    def predict(self, users: Any, items: Any) -> Any:
        """The scores of pairs, the same bits that ``recommend`` gives them.

        Parameters
        ----------
        users, items : ids
            Two of the same length, or one id on either side for all of the other.

        Returns
        -------
        float32 array (n,), or a float for one pair

        Raises
        ------
        UnknownUserError, UnknownItemError
        """
        ranker = self._fitted()
        one_user, one_item = is_one(users), is_one(items)
        asked, user_positions = self._users(users, one_user)
        if (user_positions < 0).any():
            raise self._unknown_users(asked[user_positions < 0], len(asked), scoring=True)
        item_positions = self._items(items, one_item)
        if one_user != one_item:
            user_positions, item_positions = np.broadcast_arrays(user_positions, item_positions)
        elif len(user_positions) != len(item_positions):
            raise InvalidDataError(
                f"predict: {len(user_positions)} users stand beside {len(item_positions)} items; "
                "give pairs of the same length."
            )
        scores = ranker.scores(np.ascontiguousarray(user_positions), np.ascontiguousarray(item_positions))
        return float(scores[0]) if one_user and one_item else scores

    def explain(self, user: Any = None, item: Any = None, *, history: Any = None) -> Explanation:
        """What each purchase adds to the score of an item.

        Parameters
        ----------
        user : id of a user of the training table, or None with ``history``
        item : id of any item the model knows
        history : item ids or mapping item → weight, instead of ``user``

        Returns
        -------
        Explanation
            Its contributions add up to the score.

        Raises
        ------
        UnknownUserError, UnknownItemError
        """
        return explain(self, user, item, history)

    def similar_items(self, items: Any, N: int = 10, *, metric: str = "cosine") -> Recommendations:
        """The N items most like each given item, itself left out; see ``ancf.similar``."""
        from ancf.similar import similar_items

        return similar_items(self, items, N, metric)

    def similar_users(self, users: Any, N: int = 10, *, metric: str = "cosine") -> Recommendations:
        """The N users most like each given user, themselves left out; see ``ancf.similar``."""
        from ancf.similar import similar_users

        return similar_users(self, users, N, metric)

    def save(self, path: str | Path) -> None:
        """Write the model into one ``.ancf`` file: the old one or the new one, never half of it."""
        from ancf.store import save

        self._fitted()
        save(self, path)

    def export(self, path: str | Path, format: str | None = None, *, dense_only: bool = False) -> list[Path]:  # noqa: A002
        """Write the served vectors for other programs into a folder; see ``ancf.export``."""
        from ancf.export import export

        return export(self, Path(path), format, dense_only=dense_only)

    def _plan(self, N: int = 10) -> dict[str, Any]:
        """Which way lists of N items for everyone would take on this machine, and why: {n, simd, path, why}."""
        return self._fitted().plan(check_n(N))

    # ---- ids and histories

    def _users(self, users: Any, single: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if single:
            asked = np.empty(1, object)
            asked[0] = users.item() if isinstance(users, (np.generic, np.ndarray)) else users
            return asked, np.array([self.user_ids_.position(asked[0])], np.int64)
        sequence = as_sequence(users)
        asked = as_ids(sequence)
        return asked, self.user_ids_.positions(asked if asked.dtype == np.int64 else sequence)

    def _items(self, items: Any, single: bool) -> NDArray[np.int64]:
        sequence = [items.item() if isinstance(items, np.generic) else items] if single else as_sequence(items)
        positions = self.item_ids_.positions(sequence)
        if (positions < 0).any():
            raise unknown_items(objects(sequence)[positions < 0], self.item_ids_)
        return positions

    def _unknown_users(self, unknown: NDArray[Any], asked: int, scoring: bool = False) -> UnknownUserError:
        return unknown_users(unknown, self.user_ids_, asked, scoring)

    def _histories(self, lists: list[Any], weights: Any, times: Any, on_unknown: str) -> Histories:
        return read_histories(lists, weights, times, self.item_ids_, on_unknown)

    def _history_of(self, row: int) -> Histories:
        """What a user of the training table has had; weights as served where the model keeps them, else 1."""
        start, end = self._seen[0][row], self._seen[0][row + 1]
        items = self._seen[1][start:end]
        return Histories(np.array([0, len(items)], np.int64), items, np.ones(len(items), np.float32))

    # ---- the model file

    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that serving needs, as arrays and a JSON-able dictionary."""
        self._fitted()
        arrays, meta = served_state(self)
        # How many threads a machine has is no part of what was learned: the same bytes for any number of them.
        options = {name: value for name, value in self.get_params().items() if name != "num_threads"}
        return arrays, {**meta, "options": options}

    @classmethod
    def _from_state(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Self:
        """The model that ``_state`` described.

        Raises
        ------
        ModelFileError
            If parts are missing or do not fit each other.
        """
        try:
            model = cls(**meta["options"])
        except (AncfError, KeyError, TypeError) as error:
            raise ModelFileError(f"model file: options that {cls.__name__} cannot take ({error}).") from error
        restore(model, arrays, meta)
        return model

    # ---- popularity, for those of whom nothing is known

    def _item_popularity(self) -> NDArray[np.float32]:
        """The number of users of each item."""
        counts = np.bincount(self._seen[1], minlength=len(self.item_ids_))
        return counts.astype(np.float32)

    def _popular(self, m: int, N: int, filters: Filters) -> Top:
        if not len(self._seen[1]):
            raise InvalidDataError(
                'on_unknown="popular": this model holds no interactions to count. Give interactions= when building it.'
            )
        if self._popular_ranker is None:
            self._popular_ranker = _native.Ranker(self._item_popularity()[:, None])
        one = np.ones((m, 1), np.float32)
        return self._popular_ranker.top_n_for(one, None, None, N, num_threads=self.num_threads, **filters.keywords())

    def _answer(self, asked: Any, top: Top, sources: Any, single: bool) -> Recommendations:
        items, scores, counts = top
        if single:
            n = int(counts[0])
            source = sources if isinstance(sources, str) else sources[0]
            return Recommendations(
                asked[0], self.item_ids_, items[0, :n], scores[0, :n], None, source, self.item_names_, True
            )
        return Recommendations(asked, self.item_ids_, items, scores, counts, sources, self.item_names_)
