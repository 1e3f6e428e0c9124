"""Vectors trained elsewhere, served like any model of ancf: ``from_factors``."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf._text import format_value
from ancf.checks import check_threads
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.models.base import Recommender
from ancf.params import checks_call
from ancf.scoring.histories import Histories
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.requests import as_sequence, is_one, materialize
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.unknown_ids import refuse_other_table, used_ids


@checks_call
def from_factors(
    user_factors: ArrayLike,
    item_factors: ArrayLike,
    interactions: Interactions | None = None,
    user_ids: IdMap | Iterable[Any] | None = None,
    item_ids: IdMap | Iterable[Any] | None = None,
    *,
    num_threads: int | None = None,
) -> "Factors":
    """A recommender over given vectors; the score of a pair is their inner product.

    Parameters
    ----------
    user_factors : array (n_users, d), item_factors : array (n_items, d)
        Finite numbers; taken as float32. A bias is one more factor that is 1 on the other side.
    interactions : Interactions, optional
        What each user has already: it is left out of the lists, and counted for ``on_unknown="popular"``.
        Users and items without vectors are ignored; a table of which no user (item) has a vector, but some have one
        in another kind (``7`` for ``"7"``), is an error.
    user_ids, item_ids : sequences of ids, optional
        The id of each row. Without them a row's id is its number, from 0; or, where ``interactions`` has
        exactly as many users (items), those ids in ascending order.
    num_threads : int, optional

    Returns
    -------
    Factors, fitted

    Raises
    ------
    InvalidDataError
        If shapes do not fit or a number is not finite; names the first such row.

    Examples
    --------
    >>> import numpy as np
    >>> model = from_factors(np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), item_ids=["a", "b", "c"])
    >>> ids, scores = model.recommend(0, N=2)
    >>> ids.tolist(), scores.tolist()
    (['a', 'c'], [1.0, 0.5])
    """
    check_threads(num_threads)
    if interactions is not None and not isinstance(interactions, Interactions):
        raise InvalidDataError(
            f"from_factors: interactions is of the type {type(interactions).__name__}; give ancf.Interactions, "
            "as ancf.read_interactions makes them."
        )
    users, items = _as_factors(user_factors, "user_factors"), _as_factors(item_factors, "item_factors")
    if users.shape[1] != items.shape[1]:
        raise InvalidDataError(
            f"user_factors have {users.shape[1]} columns and item_factors {items.shape[1]}; "
            "both sides need the same factors."
        )
    known_users = None if interactions is None else interactions.user_ids
    known_items = None if interactions is None else interactions.item_ids
    user_map = _id_map(user_ids, known_users, len(users), "user")
    item_map = _id_map(item_ids, known_items, len(items), "item")
    seen = ItemSets(np.zeros(len(users) + 1, np.int64), np.empty(0, np.int32))
    names = categories = None
    if interactions is not None:
        refuse_other_table(used_ids(interactions, "user"), user_map, "the users of interactions")
        refuse_other_table(used_ids(interactions, "item"), item_map, "the items of interactions")
        seen = _known_pairs(interactions, user_map, item_map)
        names = _texts_of(interactions.item_names, interactions, item_map)
        categories = _texts_of(interactions.item_categories, interactions, item_map)
    model = Factors(num_threads=num_threads)
    model._scorer = Scorer(
        model=type(model).__name__,
        options=model.get_params(),
        user_ids=user_map,
        item_ids=item_map,
        item_names=names,
        item_categories=categories,
        item_features=None if interactions is None else interactions.item_features,
        user_features=None if interactions is None else interactions.user_features,
        seen=seen,
        item_vectors=items,
        user_vectors=users,
        encoder=_LeastSquaresEncoder(),
    )
    return model


class Factors(Recommender):
    """What ``from_factors`` returns. It cannot be fitted; its vectors were trained elsewhere.

    Parameters
    ----------
    num_threads : int, optional
    """

    def __init__(self, *, num_threads: int | None = None) -> None:
        self.num_threads = num_threads

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Refused: there is nothing to learn.

        Parameters
        ----------
        interactions, validation
            Not looked at.

        Raises
        ------
        InvalidParameterError
            Always.
        """
        raise InvalidParameterError(
            "from_factors serves vectors trained elsewhere; it has no fit. Use ancf.ANCF to train."
        )

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return _LeastSquaresEncoder()


class _LeastSquaresEncoder(Encoder):
    """The user vector of a bare history as in implicit alternating least squares (Hu, Koren, Volinsky 2008).

    p solves (G/n + H + λI) p = Σ_j w_j q_j with G = Σ_i q_i q_iᵀ over all n items, H = Σ_j w_j q_j q_jᵀ over the
    history, and λ one thousandth of the mean of the diagonal, which keeps it solvable and has no unit of its own.
    """

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        items = scorer.item_vectors
        d = items.shape[1]
        gram = self._gram(scorer)
        vectors = np.zeros((histories.n_rows, d), np.float32)
        for row in range(histories.n_rows):
            part = slice(int(histories.indptr[row]), int(histories.indptr[row + 1]))
            had = items[histories.items[part]].astype(np.float64)
            weights = histories.weights[part].astype(np.float64)
            matrix = gram + had.T @ (np.abs(weights)[:, None] * had)
            scale = float(np.trace(matrix)) / max(d, 1)
            if scale > 0:
                vectors[row] = np.linalg.solve(matrix + 1e-3 * scale * np.eye(d), had.T @ weights)
        return EncodedUsers(vectors)

    def _gram(self, scorer: Scorer) -> NDArray[np.float64]:
        """G/n; kept, as it takes half a second with 60,000 items of 64 numbers."""
        gram: NDArray[np.float64] | None = scorer.compiled.get("gram")
        if gram is None:
            items = scorer.item_vectors.astype(np.float64)
            gram = scorer.compiled["gram"] = items.T @ items / max(len(items), 1)
        return gram


def _as_factors(values: ArrayLike, name: str) -> NDArray[np.float32]:
    try:
        # What is too large for float32 becomes infinite and is refused below.
        with np.errstate(over="ignore"):
            table = np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"{name} is {format_value(values)} ({str(error).rstrip('.')}); give a table of numbers, one row for "
            "each id."
        ) from None
    if table.ndim != 2 or not table.size:
        raise InvalidDataError(
            f"{name} is {format_value(values)} (shape {np.shape(values)}); give a table with at least one row and one "
            "column."
        )
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise InvalidDataError(
            f"{name}: {len(rows)} rows are not finite (first row {rows[0]}: {table[rows[0]].tolist()[:4]} ...)."
        )
    return table


def _texts_of(texts: NDArray[Any] | None, interactions: Interactions, items: IdMap) -> NDArray[Any] | None:
    """The names or categories of a table in the order of the rows of vectors."""
    if texts is None:
        return None
    at = interactions.item_ids.positions(items.values)
    return np.where(at >= 0, texts[at], np.array(None, object))


def _id_map(given: Any, known: IdMap | None, n: int, side: str) -> IdMap:
    if given is not None:
        if is_one(given):
            raise InvalidDataError(f"{side}_ids is {given!r}; give one id for each row of {side}_factors.")
        try:
            ids = given if isinstance(given, IdMap) else IdMap(as_sequence(materialize(given), f"{side}_ids"))
        except InvalidDataError as error:
            raise InvalidDataError(f"{side}_ids: {str(error).removeprefix('values: ')}") from None
        if len(ids) != n:
            raise InvalidDataError(
                f"{side}_ids holds {len(ids)} ids ({format_value(given)}) for {n} rows of {side}_factors; give one for "
                "each row."
            )
        return ids
    if known is not None and len(known) == n:
        return known
    if known is not None and known.kind != "int":
        raise InvalidDataError(
            f"{side}_factors has {n} rows and interactions {len(known)} {side}s with ids of kind {known.kind}. "
            f"Say which row is whose with {side}_ids=."
        )
    return IdMap(np.arange(n))


def _known_pairs(interactions: Interactions, users: IdMap, items: IdMap) -> ItemSets:
    """The pairs of the table among the rows that have vectors, in the order of the rows."""
    indptr, columns = interactions.to_csr().sets
    row_of = users.positions(interactions.user_ids.values)
    column_of = items.positions(interactions.item_ids.values)
    rows = np.repeat(row_of, np.diff(indptr))
    targets = column_of[columns]
    held = (rows >= 0) & (targets >= 0)
    key = np.unique(rows[held] * len(items) + targets[held])
    new_indptr = offsets_from_lengths(np.bincount(key // len(items), minlength=len(users)))
    return ItemSets(new_indptr, (key % len(items)).astype(np.int32))
