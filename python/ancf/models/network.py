"""The model as a building block: scores, gradients and steps over batches of pairs.

``ancf.reference`` says what is computed, formula by formula; here it is computed by the Rust core, in float32, with the
same bits for every number of threads. ``ancf.ANCF`` trains and serves the same model by itself.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Never, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf import _native, _text
from ancf.checks import check_choice, check_flag, check_integer, check_number, check_threads
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.csr import Csr
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.time_range import SECONDS_PER_DAY
from ancf.errors import InvalidDataError, InvalidParameterError, UnknownItemError, UnknownUserError
from ancf.params import checks_call, refuse_unknown

Attention = Literal["none", "mean", "degree", "learned", "target"]
PairAttention = Literal[Attention, "batch"]
"""With the founding variant, which scores pairs and ranks nothing."""
Loss = Literal["softmax", "mse", "bce", "bpr"]
Optimizer = Literal["adam", "adagrad", "sgd"]
Output = Literal["linear", "sigmoid"]
Layer = Literal["product", "concat"]
Similarity = Literal["product", "cosine"]


class Gradients(NamedTuple):
    """What ``backward`` gives."""

    loss: float
    gradients: dict[str, NDArray[np.float32]]


class ANCFModel:
    """Attention neural collaborative filtering over batches of pairs.

    Parameters
    ----------
    num_users, num_items : int
    embedding_dim : int
        d, numbers in a vector.
    history : Interactions or CSR triple (indptr, items, weights), optional
        Who had what, for the attention over histories; each user attends to their own row.
    attention : "none", "mean", "degree", "learned", "target" or "batch"
        How the history becomes a part of its user: a_uj = exp(ℓ_uj) / (Σ_k exp ℓ_uk)^β with logits 0 ("mean"),
        −½ log n_j ("degree"), or those and learned terms ("learned": s_j + ⟨A z_u, B x_j⟩/√d; "target":
        s_j + ⟨C x_i, B x_j⟩/√d, which looks at the history anew for each candidate i). "batch" is the founding
        variant: a softmax over the pairs of the batch weighs their products, so a prediction depends on which other
        pairs are asked for with it. It is kept to reproduce old results; rankings have no use for it.
    attention_exponent : float
        β, between 0 and 2.
    item_attention : bool
        Whether an item's vector aggregates its users: v_j = x_j + Σ_u b_ju p⁰_u.
    user_factors : bool
        Whether users have a vector z_u of their own.
    use_weights : bool
        log w_uj in the logits ("learned" and "target").
    half_life : float, optional
        Days after which a purchase counts half; where the learning starts ("learned" and "target").
    factor_attention : bool, optional
        f = softmax_k(g ⊙ p ⊙ q) ⊙ p ⊙ q. None: on where the model would have no attention at all.
    similarity : "product" or "cosine"
        The cosine divides p and q by their lengths first.
    output : "linear" or "sigmoid"
        The sum of the features, or a connected layer on them, squashed.
    layer : "product" or "concat"
        What the layer of the sigmoid output reads: p ⊙ q, or [p; q].
    biases : bool
        Biases of users, items and all pairs; a loss that compares items keeps those of the items.
    loss : "mse", "bce", "bpr" or "softmax"
        See ``ancf.reference.loss_and_slope``.
    temperature : float
        τ of the softmax.
    optimizer : "adam", "adagrad" or "sgd"
        Rows of users and items that a batch does not touch stay as they are, moments and all.
    learning_rate, regularization : float
    init_scale : float
        Standard deviation of the vectors at the start.
    user_ids, item_ids : ids, optional
        With them users and items are called by raw ids, as a table gives them; without, by positions from 0. An
        ``Interactions`` history brings its own.
    random_state : int
    num_threads : int, optional

    Examples
    --------
    >>> import ancf
    >>> model = ancf.ANCFModel(num_users=3, num_items=4, embedding_dim=8)
    >>> users, items, targets = [0, 1, 2, 0], [3, 2, 1, 0], [1.0, 0.0, 1.0, 0.0]
    >>> first = model.step(users, items, targets)
    >>> for _ in range(200):
    ...     last = model.step(users, items, targets)
    >>> last < first
    True
    >>> model.forward(users, items).shape
    (4,)
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        embedding_dim: int = 50,
        *,
        history: "Interactions | tuple[ArrayLike, ArrayLike, ArrayLike] | None" = None,
        attention: PairAttention = "none",
        attention_exponent: float = 0.5,
        item_attention: bool = False,
        user_factors: bool = True,
        use_weights: bool = False,
        half_life: float | None = None,
        factor_attention: bool | None = None,
        similarity: Similarity = "product",
        output: Output = "linear",
        layer: Layer = "product",
        biases: bool = False,
        loss: Loss = "mse",
        temperature: float = 1.0,
        optimizer: Optimizer = "adam",
        learning_rate: float = 0.001,
        regularization: float = 0.0,
        init_scale: float = 0.1,
        user_ids: IdMap | Iterable[Any] | None = None,
        item_ids: IdMap | Iterable[Any] | None = None,
        random_state: int = 0,
        num_threads: int | None = None,
        **unknown: Never,
    ) -> None:
        refuse_unknown(type(self).__name__, unknown, tuple(ANCFModel.__init__.__kwdefaults__ or ()))
        for name, value in (("num_users", num_users), ("num_items", num_items)):
            check_integer(name, value, 1, 2**31 - 2)
        check_integer("embedding_dim", embedding_dim, 1, 4096)
        check_integer("random_state", random_state, 0, 2**64 - 1)
        check_choice("attention", attention, get_args(PairAttention))
        for name, word, choices in (
            ("similarity", similarity, get_args(Similarity)),
            ("output", output, get_args(Output)),
            ("layer", layer, get_args(Layer)),
            ("loss", loss, get_args(Loss)),
            ("optimizer", optimizer, get_args(Optimizer)),
        ):
            check_choice(name, word, choices)
        check_threads(num_threads)
        for name, flag in (
            ("item_attention", item_attention),
            ("user_factors", user_factors),
            ("use_weights", use_weights),
            ("biases", biases),
        ):
            check_flag(name, flag)
        if factor_attention is None:
            factor_attention = attention == "none" and layer == "product"
        check_flag("factor_attention", factor_attention)
        check_number("init_scale", init_scale, 0.0, 1e6)
        for name, number in (("temperature", temperature), ("learning_rate", learning_rate)):
            check_number(name, number, 0.0, FLOAT32_MAX, above=True)
        check_number("attention_exponent", attention_exponent, 0.0, 2.0)
        check_number("regularization", regularization, 0.0, FLOAT32_MAX)
        if half_life is not None:
            check_number("half_life", half_life, 0.0, FLOAT32_MAX, above=True, words="None or ")
        attends = attention in ("mean", "degree", "learned", "target") or item_attention
        if attends and history is None:
            raise InvalidParameterError(
                f"attention={attention!r} and item_attention={item_attention} look at histories; give history=, an "
                'Interactions table or (indptr, items, weights), or choose attention="none".'
            )
        self.num_users, self.num_items, self.embedding_dim = int(num_users), int(num_items), int(embedding_dim)
        self.loss, self.num_threads = loss, num_threads
        if isinstance(history, Interactions):
            user_ids = history.user_ids if user_ids is None else user_ids
            item_ids = history.item_ids if item_ids is None else item_ids
        self._user_ids = _id_map(user_ids, self.num_users, "user")
        self._item_ids = _id_map(item_ids, self.num_items, "item")
        csr, ages = _history_and_ages(history, self.num_users, self.num_items, half_life is not None)
        self._native = _native.Network(
            csr,
            self.num_items,
            {
                "embedding_dim": self.embedding_dim,
                "attention": attention,
                "attention_exponent": float(attention_exponent),
                "item_attention": bool(item_attention),
                "user_factors": bool(user_factors),
                "use_weights": bool(use_weights),
                "half_life": half_life,
                "factor_attention": bool(factor_attention),
                "similarity": similarity,
                "output": output,
                "layer": layer,
                "biases": bool(biases),
                "loss": loss,
                "temperature": float(temperature),
                "optimizer": optimizer,
                "learning_rate": float(learning_rate),
                "regularization": float(regularization),
                "init_scale": float(init_scale),
                "seed": int(random_state),
            },
            ages=ages,
        )

    @property
    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all parameters by their names in ``ancf.reference``; assign a mapping to change some."""
        return self._native.parameters()

    @parameters.setter
    def parameters(self, new: Mapping[str, ArrayLike]) -> None:
        known = self._native.parameters()
        with np.errstate(over="ignore"):
            arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in new.items()}
        for name, array in arrays.items():
            if name not in known:
                raise InvalidParameterError(f"there is no parameter {name!r}; this model has {', '.join(known)}.")
            if array.shape != known[name].shape:
                raise InvalidDataError(f"{name} has the shape {array.shape}; it must be {known[name].shape}.")
            if not np.isfinite(array).all():
                raise InvalidDataError(f"{name} holds numbers that are not finite.")
        for name, array in arrays.items():
            self._native.set_parameter(name, array.ravel())

    @checks_call
    def forward(self, user_ids: ArrayLike, item_ids: ArrayLike) -> NDArray[np.float32]:
        """Predictions of pairs: scores, squashed with ``output="sigmoid"``.

        Parameters
        ----------
        user_ids, item_ids : ids or positions (n,)

        Returns
        -------
        float32 array (n,)

        Raises
        ------
        UnknownUserError, UnknownItemError
            If there is no such user or item; names them.

        Examples
        --------
        >>> import ancf
        >>> model = ancf.ANCFModel(2, 3, embedding_dim=4)
        >>> model.forward([0, 1], [2, 2]).shape
        (2,)
        """
        if self._user_ids is None and self._item_ids is None:
            # Most of a call with few pairs would go into looking at arrays that need no change.
            found = self._native.forward_if_ready(user_ids, item_ids, self.num_threads)
            if found is not None:
                return found
        return self._native.forward(*self._pairs(user_ids, item_ids), self.num_threads)

    @checks_call
    def backward(
        self,
        user_ids: ArrayLike,
        item_ids: ArrayLike,
        targets: ArrayLike | None = None,
        *,
        negatives: ArrayLike | None = None,
        log_weights: ArrayLike | None = None,
    ) -> Gradients:
        """The mean loss of a batch and its gradient by every parameter; the model stays as it is.

        Parameters
        ----------
        user_ids, item_ids : ids or positions (n,)
            Pairs; with "bpr" and "softmax" the positives.
        targets : numbers (n,)
            With "mse" and "bce".
        negatives : ids or positions
            With "bpr" (n,) or (n, m): each positive's own. With "softmax" (m,): those that all share.
        log_weights : numbers (m,), optional
            With "softmax": log ω of the negatives; 0 if left out.

        Returns
        -------
        Gradients
            ``loss`` and ``gradients`` by name, dense arrays of the parameters' shapes.

        Raises
        ------
        InvalidDataError
            If a target is not finite, or the parts do not fit each other or the loss.

        Examples
        --------
        >>> import ancf
        >>> model = ancf.ANCFModel(2, 3, embedding_dim=4)
        >>> sorted(model.backward([0], [2], [1.0]).gradients)
        ['item_factors', 'sharpness', 'user_factors']
        """
        return Gradients(*self._native.backward(*self._batch(user_ids, item_ids, targets, negatives, log_weights)))

    @checks_call
    def step(
        self,
        user_ids: ArrayLike,
        item_ids: ArrayLike,
        targets: ArrayLike | None = None,
        *,
        negatives: ArrayLike | None = None,
        log_weights: ArrayLike | None = None,
    ) -> float:
        """One step of the optimizer on a batch as ``backward`` takes it; the mean loss before the step.

        Parameters
        ----------
        user_ids, item_ids, targets, negatives, log_weights
            As in ``backward``.

        Returns
        -------
        float

        Raises
        ------
        DivergedError
            If the loss or a parameter would leave the finite numbers; the step is not taken.

        Examples
        --------
        >>> import ancf
        >>> model = ancf.ANCFModel(2, 3, embedding_dim=4)
        >>> model.step([0], [2], [1.0]) > 0
        True
        """
        return self._native.step(*self._batch(user_ids, item_ids, targets, negatives, log_weights))

    def __reduce_ex__(self, protocol: Any) -> Never:
        raise InvalidParameterError(
            "ANCFModel cannot be pickled or copied: the state of its optimizer stays in the core. Keep "
            "model.parameters for a new ANCFModel, or train with ancf.ANCF, which can be saved and pickled."
        )

    def __repr__(self) -> str:
        return f"ANCFModel({self.num_users:,} users × {self.num_items:,} items, {self.embedding_dim} numbers each)"

    def _pairs(self, users: ArrayLike, items: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        user_positions = _positions(users, self._user_ids, self.num_users, "user")
        item_positions = _positions(items, self._item_ids, self.num_items, "item")
        if len(user_positions) != len(item_positions):
            raise InvalidDataError(
                f"user_ids has {len(user_positions)} values and item_ids has {len(item_positions)}; give pairs."
            )
        return user_positions, item_positions

    def _batch(self, users: Any, items: Any, targets: Any, negatives: Any, log_weights: Any) -> tuple[Any, ...]:
        user_positions, item_positions = self._pairs(users, items)
        n_pairs, rows = len(user_positions), None
        if negatives is not None:
            given = _as_array(negatives, "negatives")
            expected = "(m,)" if self.loss == "softmax" else "(n,) or (n, m), a row for each positive"
            fits = given.ndim == 1 if self.loss == "softmax" else given.ndim in (1, 2) and len(given) == n_pairs
            if not fits:
                raise InvalidDataError(
                    f"negatives is {_text.format_value(negatives)} (shape {given.shape}); with loss={self.loss!r} give "
                    f"{expected}."
                )
            rows = _positions(given.ravel(), self._item_ids, self.num_items, "item")
        compares = self.loss in ("bpr", "softmax")
        if targets is None and not compares:
            raise InvalidDataError(f"targets is None; loss={self.loss!r} takes a number for each pair.")
        if negatives is not None and not compares:
            raise InvalidDataError(
                f"negatives is {_text.format_value(negatives)}; loss={self.loss!r} takes none. Leave them out."
            )
        numbers, logs = _as_float32(targets, "targets"), _as_float32(log_weights, "log_weights")
        if numbers is not None and negatives is None and len(numbers) != n_pairs:
            raise InvalidDataError(
                f"targets is {_text.format_value(targets)} ({len(numbers)} values) where there are {n_pairs} pairs; "
                "give one for each."
            )
        if logs is not None and len(logs) != (0 if rows is None else len(rows)):
            raise InvalidDataError(
                f'log_weights is {_text.format_value(log_weights)} ({len(logs)} values); with loss="softmax" give one '
                "for each negative, else leave it out."
            )
        return user_positions, item_positions, numbers, rows, logs, self.num_threads


def _as_float32(values: Any, what: str) -> NDArray[np.float32] | None:
    if values is None:
        return None
    try:
        # What is too large for float32 becomes infinite, and the core refuses it.
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"{what} is {_text.format_value(values)} ({str(error).rstrip('.')}); give numbers."
        ) from None
    return array.reshape(-1)


def _id_map(ids: Any, n: int, what: str) -> IdMap | None:
    if ids is None:
        return None
    try:
        known = ids if isinstance(ids, IdMap) else IdMap(ids)
    except InvalidDataError as error:
        raise InvalidDataError(f"{what}_ids: {str(error).removeprefix('values: ')}") from None
    if len(known) != n:
        raise InvalidParameterError(f"{what}_ids has {len(known)} ids where num_{what}s is {n}; give one for each.")
    return known


def _as_array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"{what} is {_text.format_value(values)} ({error}); give one value for each pair, all of one kind."
        ) from None


def _positions(values: ArrayLike, ids: IdMap | None, n: int, what: str) -> NDArray[np.int64]:
    error = UnknownUserError if what == "user" else UnknownItemError
    if ids is not None:
        found = ids.positions(_as_array(values, f"{what}_ids") if isinstance(values, np.ndarray) else values)
        if (found < 0).any():
            unknown = np.asarray(values, object).ravel()[found < 0]
            raise error(f"{what} {_text.format_list(unknown)}: not among the {len(ids)} {what}_ids of this model.")
        return found
    array = _as_array(values, f"{what}_ids")
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))
    if array.ndim != 1 or (len(array) and not whole):
        raise InvalidDataError(
            f"{what}_ids is {_text.format_value(values)}; give a list of positions from 0 to {n - 1}, or build the "
            f"model with {what}_ids= to use raw ids."
        )
    out = np.flatnonzero((array < 0) | (array >= n))
    if len(out):
        raise error(f"{what}_ids: {array[out[0]]} at position {out[0]}; this model has {what}s 0 to {n - 1}.")
    return np.ascontiguousarray(array, np.int64)


def pair_ages(indptr: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.float32]:
    """Days from each pair to the newest one of its user."""
    ages = np.zeros(len(times), np.float32)
    held = np.flatnonzero(np.diff(indptr))
    if len(held):
        newest = np.maximum.reduceat(times, indptr[held])
        ages[:] = (np.repeat(newest, np.diff(indptr)[held]) - times) / SECONDS_PER_DAY
    return ages


def _history_and_ages(history: Any, n_users: int, n_items: int, timed: bool) -> tuple[Csr, NDArray[np.float32] | None]:
    if history is None:
        return Csr.empty(n_users), np.empty(0, np.float32) if timed else None
    if isinstance(history, Interactions):
        if (history.n_users, history.n_items) != (n_users, n_items):
            raise InvalidParameterError(
                f"history has {history.n_users} users × {history.n_items} items; the model {n_users} × {n_items}."
            )
        csr = history.to_csr()
        times = history.pair_times()
        if timed and times is None:
            raise InvalidParameterError("half_life needs times, which this history does not have; leave it out.")
        return csr, pair_ages(csr.indptr, times) if timed and times is not None else None
    if timed:
        raise InvalidParameterError("half_life needs times; give the history as ancf.Interactions.")
    try:
        indptr, items, weights = history
        indptr, items = np.ascontiguousarray(indptr, np.int64), np.ascontiguousarray(items, np.int32)
        weights = np.ascontiguousarray(weights, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidParameterError(
            f"history is {history!r} ({error}); give ancf.Interactions, or (indptr, items, weights)."
        ) from None
    if len(indptr) != n_users + 1:
        raise InvalidParameterError(f"history has {len(indptr) - 1} rows; the model {n_users} users.")
    return Csr(indptr, items, weights), None
