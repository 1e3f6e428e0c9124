"""What a recommender answers with: ``Recommendations`` and ``Explanation``.

Inside, everything is positions; raw ids are looked up when somebody asks for them, so that a chunk of a million lists
can be written or measured without a million Python objects.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.data.ids import IdMap
from ancf.errors import MissingExtraError, _PositionError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Source = Literal["model", "history", "popular", "similar", "together", "again", "attributes"]
"""What a recommendation comes from; an item that nobody has bought yet has its score from its attributes."""

_SHOWN_ROWS = 20
_SHOWN_COMPANIONS = 3


class TopN(NamedTuple):
    """Lists of several users by positions; row u holds ``counts[u]`` answers, best first, and zeros behind them."""

    items: NDArray[np.int32]
    """(n_users, n)"""
    scores: NDArray[np.float32]
    """(n_users, n)"""
    counts: NDArray[np.int32]
    """(n_users,)"""

    def rows(self, which: NDArray[np.intp]) -> "TopN":
        """The lists of some of the users."""
        return TopN(self.items[which], self.scores[which], self.counts[which])


class TopNOne(NamedTuple):
    """The list of one user by positions, as long as it is."""

    items: NDArray[np.int32]
    scores: NDArray[np.float32]


def merge_lists(n_users: int, known: NDArray[np.intp], top: TopN, others: NDArray[np.intp], rest: TopN | None) -> TopN:
    """The lists of the known and of the others in the order requested; ``rest`` None leaves the others empty."""
    width = max(top.items.shape[1], 0 if rest is None else rest.items.shape[1])
    items = np.zeros((n_users, width), np.int32)
    scores = np.zeros((n_users, width), np.float32)
    counts = np.zeros(n_users, np.int32)
    for rows, part in ((known, top), (others, rest)):
        if part is not None and len(rows):
            items[rows, : part.items.shape[1]] = part.items
            scores[rows, : part.scores.shape[1]] = part.scores
            counts[rows] = part.counts
    return TopN(items, scores, counts)


class Row(NamedTuple):
    """One recommendation, as ``Recommendations.rows`` gives it."""

    # Any: numbers, text, bytes or UUIDs, as the table had them, which no type can tell before it is read.
    user_id: Any
    item_id: Any
    score: float
    rank: int
    source: Source


class Recommendations:
    """The lists of one or several users, best first.

    Unpacks like a pair, ``ids, scores = model.recommend(...)``, and prints as a table.

    Attributes
    ----------
    ids : array of item ids
        1-D for one user. For several: (n_users, n), or, where the lists differ in length, a 1-D object array with
        one array of ids for each user. Never padded.
    scores : float32 array, shaped like ``ids``
    user_ids : array of the users requested, in their order
    counts : int array, the length of each user's list

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=["ann", "ann", "bob"], item=["tea", "cup", "tea"])
    >>> recs = ancf.Popular().fit(data).recommend(["bob"], N=5)
    >>> ids, scores = recs
    >>> ids.tolist(), scores.tolist()
    ([['cup']], [[1.0]])
    >>> recs
    user_id  item_id  score  rank  source
    bob      cup          1     1  model
    """

    __slots__ = (
        *("_answers", "_columns", "_counts", "_names", "_positions", "_scores", "_sources", "_users", "single"),
        "unbought",
    )

    def __init__(
        self,
        users: Any,
        answers: IdMap,
        positions: NDArray[np.int32],
        scores: NDArray[np.float32],
        counts: NDArray[np.int32] | None,
        sources: Any,
        names: NDArray[Any] | None = None,
        single: bool = False,
        columns: tuple[str, str] = ("user_id", "item_id"),
    ) -> None:
        # `users`: one id when single, else an array; `sources`: one word, or one for each user.
        # `positions` and `scores`: 1-D when single, else (m, n) of which row u holds counts[u] answers.
        self._users = users
        self._answers = answers
        self._positions = positions
        self._scores = scores
        self._counts = counts
        self._sources = sources
        self._names = names
        self.single = single
        self._columns = columns
        self.unbought: NDArray[np.bool_] | None = None
        """Which items nobody has bought, by position; None where there is none."""

    # Arrays of Any: what the ids are is known when a table is read, and lists of different lengths are objects.

    @property
    def ids(self) -> NDArray[Any]:
        """The recommended ids, best first."""
        return self._shaped(self._positions, self._answers)

    @property
    def scores(self) -> NDArray[Any]:
        """The scores (float32), in the order of ``ids``."""
        return self._shaped(self._scores, None)

    @property
    def user_ids(self) -> NDArray[Any]:
        """The users requested, one for each list."""
        if not self.single:
            return np.asarray(self._users)
        if isinstance(self._users, (int, np.integer)):
            return np.array([self._users], np.int64)
        one = np.empty(1, object)
        one[0] = self._users
        return one

    @property
    def counts(self) -> NDArray[np.int32]:
        """The length of each list."""
        return np.array([len(self._positions)], np.int32) if self._counts is None else self._counts

    @property
    def sources(self) -> str | NDArray[Any]:
        """What the lists come from: one word for all, or an array with one for each user."""
        return self._sources if isinstance(self._sources, str) else np.asarray(self._sources)

    @property
    def n_rows(self) -> int:
        """The number of recommendations in all lists together."""
        return int(self.counts.sum())

    def parts(self) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
        """Users (m,), positions and scores (m, n), counts (m,): what a writer of many lists works with."""
        return self.user_ids, np.atleast_2d(self._positions), np.atleast_2d(self._scores), self.counts

    def sources_of_users(self) -> list[str]:
        """What each list comes from."""
        if isinstance(self._sources, str):
            return [self._sources] * len(self.counts)
        return [str(each) for each in self._sources]

    def _shaped(self, values: NDArray[Any], ids: IdMap | None) -> NDArray[Any]:
        if self._counts is None:
            return values if ids is None else ids.values[values]
        n = self._common_length()
        if n is not None:
            block = values if n == values.shape[1] else np.ascontiguousarray(values[:, :n])
            return block if ids is None else ids.values[block]
        ragged = np.empty(len(values), object)
        for at, (row, count) in enumerate(zip(values, self._counts.tolist(), strict=True)):
            ragged[at] = row[:count] if ids is None else ids.values[row[:count]]
        return ragged

    def _common_length(self) -> int | None:
        counts = self._counts
        assert counts is not None
        if not len(counts):
            return int(self._positions.shape[1])
        first = int(counts[0])
        return first if bool((counts == first).all()) else None

    def __iter__(self) -> Iterator[NDArray[Any]]:
        yield self.ids
        yield self.scores

    def __len__(self) -> int:
        return 2

    def __getitem__(self, part: int) -> NDArray[Any]:
        """``[0]`` the ids, ``[1]`` the scores."""
        if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            if part in (0, -2):
                return self.ids
            if part in (1, -1):
                return self.scores
        raise _PositionError(f"Recommendations hold ids [0] and scores [1]; there is no [{_text.format_value(part)}].")

    def flat_positions(self) -> NDArray[np.int32]:
        """The position of each recommended item, row by row."""
        if self.single:
            return self._positions
        width = self._positions.shape[1]
        return self._positions[np.arange(width)[None, :] < self.counts[:, None]]

    def _flat(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32], NDArray[np.int64], NDArray[Any]]:
        """The columns of the table, one row for each recommendation."""
        counts = self.counts
        width = 0 if self._positions.ndim == 1 else self._positions.shape[1]
        if self.single:
            positions, scores = self._positions, self._scores
        else:
            held = np.arange(width)[None, :] < counts[:, None]
            positions, scores = self._positions[held], self._scores[held]
        ends = np.cumsum(counts, dtype=np.int64)
        rank = np.arange(1, len(positions) + 1, dtype=np.int64) - np.repeat(ends - counts, counts)
        if isinstance(self._sources, str):
            sources = np.full(len(positions), self._sources, object)
        else:
            sources = np.repeat(np.asarray(self._sources, object), counts)
        if self.unbought is not None:
            sources[self.unbought[positions]] = "attributes"
        return np.repeat(self.user_ids, counts), self._answers.values[positions], scores, rank, sources

    def rows(self) -> Iterator[Row]:
        """Every recommendation as a named tuple ``(user_id, item_id, score, rank, source)``, user by user.

        Returns
        -------
        iterator of ``Row``

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2], item=["tea", "tea", "cup"])
        >>> recs = ancf.Popular().fit(data).recommend([1])
        >>> [row.item_id for row in recs.rows()]
        ['cup']
        """
        users, items, scores, rank, sources = self._flat()
        columns = (users.tolist(), items.tolist(), scores.tolist(), rank.tolist(), sources.tolist())
        return map(Row, *columns)

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """The columns ``user_id, item_id, score, rank, source`` as NumPy arrays.

        Where the model knows the items' names they are the column ``name`` behind ``item_id``: text, or None.

        Returns
        -------
        dict, name → array (n_rows,)

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2], item=["tea", "tea", "cup"])
        >>> recs = ancf.Popular().fit(data).recommend([1])
        >>> recs.to_dict()["rank"].tolist()
        [1]
        """
        users, items, scores, rank, sources = self._flat()
        names = {} if self._names is None else {"name": self._names[self.flat_positions()]}
        return {
            self._columns[0]: users,
            self._columns[1]: items,
            **names,
            "score": scores,
            "rank": rank,
            "source": sources,
        }

    def to_pandas(self) -> "pd.DataFrame":
        """A table with the columns of ``to_dict``, one row for each recommendation.

        Returns
        -------
        DataFrame

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2, 2], item=["t", "t", "c"], item_names={"c": "Cup", "t": "Tea"})
        >>> ancf.Popular().fit(data).recommend(1).to_pandas().to_dict("records")
        [{'user_id': 1, 'item_id': 'c', 'name': 'Cup', 'score': 1.0, 'rank': 1, 'source': 'model'}]
        """
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def to_arrow(self) -> "pa.Table":
        """The same table for Arrow (``pyarrow.Table``); needs the extra ``ancf[arrow]``.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        MissingExtraError
            If pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtraError("to_arrow needs pyarrow. Install it with: pip install 'ancf[arrow]'") from error
        columns = self.to_dict()
        return pa.table({name: arrow_column(values) for name, values in columns.items()})

    def __repr__(self) -> str:
        total = self.n_rows
        if not total:
            return f"no recommendations for {_text.format_list(self.user_ids)}"
        shown = self._head(_SHOWN_ROWS)
        users, items, scores, rank, sources = shown._flat()
        columns = [*self._columns, "score", "rank", "source"]
        parts: list[list[Any]] = [users.tolist(), items.tolist(), scores.tolist(), rank.tolist(), sources.tolist()]
        if self._names is not None:
            columns.insert(2, "name")
            parts.insert(2, [name or "" for name in self._names[shown.flat_positions()].tolist()])
        rows = [list(row) for row in zip(*parts, strict=True)][:_SHOWN_ROWS]
        return _text.format_table(columns, rows, more=total - len(rows))

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html(max_rows=_SHOWN_ROWS, index=False, na_rep="")

    def _head(self, rows: int) -> "Recommendations":
        """Enough of the first users to fill so many rows."""
        if self.single:
            return self
        needed = int(np.searchsorted(np.cumsum(self.counts), rows)) + 1
        sources = self._sources if isinstance(self._sources, str) else self._sources[:needed]
        head = Recommendations(
            self._users[:needed],
            self._answers,
            self._positions[:needed],
            self._scores[:needed],
            self.counts[:needed],
            sources,
            self._names,
            False,
            self._columns,
        )
        head.unbought = self.unbought
        return head


def arrow_column(values: NDArray[Any]) -> Any:
    """A NumPy column as Arrow; ids that Arrow has no type for (UUIDs) as text."""
    import pyarrow as pa

    if values.dtype == object:
        first = next((each for each in values if each is not None), None)
        if first is None:
            return pa.array([None] * len(values), pa.string())
        if not isinstance(first, (str, bytes, int)):
            values = np.array([None if each is None else str(each) for each in values], object)
    return pa.array(values)


class Reason(NamedTuple):
    """One line of an ``Explanation``."""

    item_id: Any
    name: str | None
    contribution: float


class Companion(NamedTuple):
    """An item beside which another one stands by its attributes."""

    item_id: Any
    name: str | None
    share: float
    """How much of the other one's place comes from it; those of all companions add up to 1."""
    shared: list[str]
    """What both have in common: ``name: enamel mug``, ``category: Kitchen``."""


class Explanation:
    """Why an item stands where it stands: what each purchase of the history adds to the score.

    The contributions of ``reasons`` and of ``base`` (what does not come from the history, such as the item's general
    popularity) add up to ``score``, which is the score that ``recommend`` and ``predict`` give; where the model has a
    sigmoid as its last step (``link``), they add up to what goes into it.

    Attributes
    ----------
    user_id, item_id : ids; ``user_id`` is None for a bare history
    name : str or None, the item's name where the training table had names
    score : float
    reasons : list of ``Reason(item_id, name, contribution)``, the largest contribution first
    base : dict, text → contribution
    link : "identity" or "sigmoid"
    companions : list of ``Companion(item_id, name, share, shared)``
        For an item that has its place among others from its attributes (docs/attributes.md): those others, the closest
        first, and the attributes that both share. Empty for all other items.
    """

    def __init__(
        self,
        user_id: Any,
        item_id: Any,
        score: float,
        reasons: list[Reason],
        base: Mapping[str, float],
        name: str | None = None,
        link: str = "identity",
        companions: Sequence[Companion] = (),
    ) -> None:
        self.companions = list(companions)
        self.user_id, self.item_id, self.name, self.score = user_id, item_id, name, score
        self.link = link
        self.reasons = sorted(reasons, key=lambda reason: -reason.contribution)
        self.base = dict(base)

    @property
    def total(self) -> float:
        """The contributions added up (float64); equal to ``score`` before its ``link`` but for rounding."""
        return float(np.sum([each.contribution for each in self.reasons]) + np.sum(list(self.base.values())))

    def __iter__(self) -> Iterator[Reason]:
        return iter(self.reasons)

    def __len__(self) -> int:
        return len(self.reasons)

    def to_pandas(self) -> "pd.DataFrame":
        """A table ``item_id, name, contribution, share``; ``share`` is the part of the score (of 1).

        Returns
        -------
        DataFrame

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"])
        >>> ancf.ItemKNN().fit(data).explain(2, "a").to_pandas()["item_id"].tolist()
        ['b']
        """
        import pandas as pd

        rows = [(each.item_id, each.name, each.contribution) for each in self.reasons]
        rows += [(None, label, value) for label, value in self.base.items()]
        frame = pd.DataFrame(rows, columns=["item_id", "name", "contribution"])
        whole = self.score if self.link == "identity" else self.total
        frame["share"] = frame["contribution"] / whole if whole else 0.0
        return frame

    def __repr__(self) -> str:
        what = f"{self.item_id} ({self.name})" if self.name else f"{self.item_id}"
        whom = "this history" if self.user_id is None else str(self.user_id)
        head = f"{what} for {whom}: score {_text.format_number(self.score)}"
        lines: list[list[Any]] = [
            [str(each.item_id), each.name or "", each.contribution] for each in self.reasons[:_SHOWN_ROWS]
        ]
        lines += [["", f"({label})", value] for label, value in self.base.items()]
        for each in self.companions[:_SHOWN_COMPANIONS]:
            what = f"{each.item_id} ({each.name})" if each.name else f"{each.item_id}"
            alike = f" ({'; '.join(each.shared)})" if each.shared else ""
            head += f"\nby its attributes {100 * each.share:.0f} % like {what}{alike}"
        if not lines:
            return f"{head}\nnothing in the history contributes to it"
        named = any(line[1] for line in lines)
        columns = ["because of", "name", "adds"] if named else ["because of", "adds"]
        rows = lines if named else [[line[0], line[2]] for line in lines]
        return f"{head}\n{_text.format_table(columns, rows, more=max(0, len(self.reasons) - _SHOWN_ROWS))}"
