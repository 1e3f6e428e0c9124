"""The contract of every recommender: raw ids in and out, one scorer behind all answers, the same lists by every way.

A model learns in ``fit`` and ends with one assignment, ``self._scorer = Scorer(...)``: ids, what each user has had,
vectors, item-item weights and an ``Encoder`` for people who were not in training (``ancf.scoring.scorer``). Every
method here asks that scorer, so that a pair has the same bits everywhere, and a model that is fitted or loaded anew
while others ask it answers each of them wholly from one state or the other. ``docs/adding-a-model.md`` shows one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from ancf import model_file
from ancf.checks import check_flag, check_path, check_threads
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.errors import (
    AncfError,
    InvalidCallError,
    InvalidDataError,
    ModelFileError,
    NotFittedError,
)
from ancf.models.asking import Asking
from ancf.models.learned import Learned
from ancf.models.recommending import Recommending
from ancf.params import Params, checks_call
from ancf.scoring import export, scorer_arrays, updates
from ancf.scoring.export import Format
from ancf.scoring.parts import Arrays
from ancf.scoring.purchases import Purchases
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.unknown_ids import refuse_other_table, used_ids
from ancf.scoring.updates import Update
from ancf.search_space import SearchSpace


class Recommender(Params, Learned, Recommending, Asking, ABC):
    """What every model of ancf can do once it is fitted or loaded.

    Attributes
    ----------
    user_ids_, item_ids_ : IdMap, the users and items of the training table
    item_names_ : array of text aligned with ``item_ids_``, or None
    item_vectors_, user_vectors_ : float32 arrays (n_items, d) and (n_users, d), for models that have vectors
    """

    #: Whether an update trains anew on all purchases, which for a model that counts or solves once is the update.
    _update_is_fit: ClassVar[bool] = False

    _scorer: Scorer | None = None
    num_threads: int | None = None

    # ---- what a model provides

    @abstractmethod
    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        """Learn from a table of interactions; returns self. Models that need no validation table ignore it.

        Parameters
        ----------
        interactions : Interactions
            The training table.
        validation : Interactions, optional
            Held-out interactions, by which some models choose when to stop.

        Returns
        -------
        the model itself, fitted

        Raises
        ------
        InvalidDataError
            If the table holds no interactions.
        InvalidParameterError
            If an option makes no sense; names it and its value.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"])
        >>> ancf.ItemKNN(neighbors=5).fit(data)
        ItemKNN(neighbors=5)
        """
        raise NotImplementedError

    @abstractmethod
    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        """The encoder that was saved with the model; what it needs of the file is checked."""
        raise NotImplementedError

    def search_space(self, *, timed: bool = True) -> SearchSpace:
        """The options that are worth trying, and what each may be; ``ancf.tune`` searches them.

        Any values of it go together with the options as they are.

        Parameters
        ----------
        timed : bool
            Whether the table has times; options that need them are left out where it has none.

        Returns
        -------
        dict, option → ``Real``, ``Integer`` or ``Categorical``; empty for a model with nothing to choose

        Examples
        --------
        >>> import ancf
        >>> list(ancf.UserKNN().search_space())
        ['neighbors', 'weighting', 'shrinkage']
        """
        return {}

    def _predicts_quantity(self) -> bool:
        """Whether its scores are quantities or ratings, so that a comparison may show their errors."""
        return getattr(self, "loss", None) == "mse"

    # ---- what a model calls

    def _training_data(self, interactions: Any, validation: Any = None) -> Interactions:
        """The training table over exactly the ids that occur in it; both tables are looked at."""
        self._refuse_view("fit")
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
        data = data.compact()
        if validation is not None:
            for side in ("user", "item"):
                known: IdMap = getattr(data, f"{side}_ids")
                refuse_other_table(used_ids(validation, side), known, f"the {side}s of the validation table")
        return data

    def _build_scorer(self, data: Interactions, **parts: Any) -> Scorer:
        """A scorer over a table's ids and names, of these parts."""
        return Scorer(
            model=type(self).__name__,
            options=self.get_params(),
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            item_names=data.item_names,
            item_categories=data.item_categories,
            item_features=data.item_features,
            user_features=data.user_features,
            event_weights=data.event_weights,
            **{"purchases": Purchases.from_interactions(data), **parts},
        )

    def _updated(self, scorer: Scorer, update: Update) -> Scorer:
        """The scorer with what an update brings, as a function of what was trained and of all purchases.

        A model that can be updated says how (``docs/updating.md``), or trains anew; ``self`` is an unfitted one with
        the options of the scorer.
        """
        data = update.data.compact()
        return replace(self.fit(data)._fitted(), **update.about(data))

    def _check_update(self, scorer: Scorer) -> None:
        """Look whether a model like this one can take in purchases without training anew.

        Raises
        ------
        InvalidCallError, InvalidDataError
            If it cannot, or its file does not keep what an update starts from.
        """
        if not self._update_is_fit and type(self)._updated is Recommender._updated:
            raise InvalidCallError(
                f"{type(self).__name__} cannot take in purchases without training anew. Call fit with all of them "
                "(ancf.concat joins tables), or use a model that can: ANCF."
            )

    def _fitted(self) -> Scorer:
        """The scorer that answers from here on.

        Raises
        ------
        NotFittedError
        """
        scorer = self._scorer
        if scorer is None:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet. Call fit(interactions) first, or ancf.load(path)."
            )
        check_threads(self.num_threads)
        return scorer

    # ---- updating

    @checks_call
    def partial_fit(
        self,
        interactions: Interactions,
        *,
        deduplicate: bool = False,
        item_features: Any = None,
        user_features: Any = None,
    ) -> Self:
        """Take in new purchases, customers and products without training anew.

        Histories, counts, times, trend and popularity become those of all purchases; ``docs/updating.md`` says what
        else changes and what stays. Two updates give the same bytes as one of both tables. Whoever asks meanwhile is
        answered by the model as it was.

        Parameters
        ----------
        interactions : Interactions
            With ids of the same kind as the training table's, or numbers and UUIDs as text, and times if that had some.
            Read with ``returns="keep"``, its negative quantities take back what was bought before.
        deduplicate : bool
            A row whose user, item and moment are in already takes the place of what is there, instead of adding to it.
        item_features, user_features : Features, or what ``ancf.read_features`` takes, optional
            Attributes of new items and users, with purchases or without, and corrected ones of known ones.

        Returns
        -------
        self; ``last_update_`` is the account

        Raises
        ------
        InvalidCallError
            If this model has to be trained anew, or was fitted or updated by another call meanwhile.
        InvalidDataError
            If the table does not fit, no purchase would be left, or the model comes from a file without purchases.
        NotFittedError

        Examples
        --------
        >>> import ancf
        >>> may = ancf.Interactions.from_ids(user=["ann", "ann", "bob"], item=["tea", "cup", "tea"])
        >>> june = ancf.Interactions.from_ids(user=["cleo", "cleo"], item=["tea", "pot"])
        >>> model = ancf.Popular().fit(may).partial_fit(june)
        >>> model.recommend("bob", N=2).ids.tolist()
        ['cup', 'pot']
        >>> print(model.last_update_)
        2 events taken in: 1 new user, 1 new item, 2 items touched
        """
        check_flag("deduplicate", deduplicate)
        self._refuse_view("partial_fit")
        scorer = self._fitted()
        self._check_update(scorer)
        interactions = updates.read_update(scorer, interactions, item_features, user_features)
        own = {"num_threads": self.num_threads} if "num_threads" in scorer.options else {}
        fitted = type(self)(**{**scorer.options, **own})
        found = updates.apply(scorer, interactions, deduplicate, fitted._updated)
        if self._scorer is not scorer:
            raise InvalidCallError(
                "the model was fitted or updated by another call meanwhile, and nothing of this one was taken in. Call "
                "partial_fit again, one call after the other."
            )
        self._scorer = found
        return self

    # ---- files

    @checks_call
    def save(self, path: str | Path) -> None:
        """Write the model into one ``.ancf`` file: the old one or the new one, never half of it.

        The options in the file are those that the model was fitted with, without ``num_threads``.

        Parameters
        ----------
        path : path of the file, by custom ending in ``.ancf``
            A link is followed; a folder, a device or a pipe is refused. The file keeps the rights of the one that it
            replaces.

        Raises
        ------
        NotFittedError
            If there is nothing to save yet.
        InvalidParameterError
            If ``path`` is no path.
        OSError
            If the folder is missing, full or not writable; ``path`` is what it was.

        Examples
        --------
        >>> import ancf, tempfile, pathlib
        >>> model = ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(pathlib.Path(folder) / "shop.ancf")
        ...     ancf.load(pathlib.Path(folder) / "shop.ancf").recommend(2).ids.tolist()
        ['a']
        """
        scorer = self._fitted()
        self._refuse_view("save")
        model_file.save(check_path("path", path), scorer.model, *scorer_arrays.to_arrays(scorer))

    def to_bytes(self) -> bytes:
        """The bytes of the file that ``save`` writes, for a database, a cache or a message.

        Returns
        -------
        bytes
            ``ancf.load`` takes them. The same model gives the same bytes.

        Raises
        ------
        NotFittedError

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"])
        >>> model = ancf.Popular().fit(data)
        >>> ancf.load(model.to_bytes()).predict(2, "cup") == model.predict(2, "cup")
        True
        """
        scorer = self._fitted()
        self._refuse_view("to_bytes")
        return model_file.to_bytes(scorer.model, *scorer_arrays.to_arrays(scorer))

    # Pickles, deep copies, joblib and multiprocessing: what was learned goes through the bytes of the model file, with
    # all checks of loading one; what else stands on the object goes as it is.

    def __getstate__(self) -> dict[str, Any]:
        scorer = self._scorer
        learned = None if scorer is None else model_file.to_bytes(scorer.model, *scorer_arrays.to_arrays(scorer))
        stock = None if scorer is None else scorer.stock
        return {**self.__dict__, "_scorer": learned, **({} if stock is None else {"_stock": stock})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        learned = state["_scorer"]
        scorer = None if learned is None else type(self)._from_arrays(*model_file.read(learned))._scorer
        stock = state.get("_stock")
        if scorer is not None and stock is not None:
            scorer = scorer.with_stock(stock)
        self.__dict__.update({name: value for name, value in state.items() if name != "_stock"} | {"_scorer": scorer})

    # scikit-learn asks these of whatever it is given; it is not imported before it asks.

    def __sklearn_is_fitted__(self) -> bool:
        return self._scorer is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags  # type: ignore[import-not-found, import-untyped, unused-ignore]

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    @checks_call
    def export(self, path: str | Path, format: Format | None = None, *, dense_only: bool = False) -> list[Path]:  # noqa: A002
        """Write the served vectors for other programs into a folder.

        Parameters
        ----------
        path : folder, made if it is missing
        format : "npy" (default), "arrow" or "usearch"
            ``npy``: item_vectors.npy, user_vectors.npy (float32), item_ids.npy, user_ids.npy (integers, or text).
            ``arrow``: items.arrow and users.arrow with the columns ``id`` and ``vector``; needs ``ancf[arrow]``.
            ``usearch``: items.usearch, an index for the inner product whose keys are row numbers, and item_ids.npy;
            needs the package usearch.
        dense_only : bool
            Export the vectors of a model whose score has more parts than their inner product.

        Returns
        -------
        list of the files written

        Raises
        ------
        InvalidParameterError
            If the format is unknown, or the model's score is more than an inner product and ``dense_only`` is False.
        MissingExtraError
            If the format needs a package that is not installed.
        OSError
            If the folder cannot be made or written to.

        Examples
        --------
        >>> import ancf, numpy as np, tempfile
        >>> model = ancf.from_factors(np.eye(2), np.eye(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in model.export(folder)]
        ['item_vectors.npy', 'user_vectors.npy', 'item_ids.npy', 'user_ids.npy']
        """
        return export.export(self._fitted(), check_path("path", path), format, dense_only=dense_only)

    @classmethod
    def _from_arrays(cls, arrays: Arrays, meta: Mapping[str, Any]) -> Self:
        """The model whose scorer went into these arrays.

        Raises
        ------
        ModelFileError
            If parts are missing or do not fit each other.
        """
        try:
            meta = _with_present_names(meta)
            model = cls(**meta["options"])
        except (AncfError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"model file: options that {cls.__name__} cannot take ({error}). Load another copy."
            ) from error
        try:
            encoder = model._load_encoder(arrays, dict(meta))
            model._scorer = scorer_arrays.from_arrays(cls.__name__, model.get_params(), encoder, arrays, dict(meta))
        except ModelFileError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise ModelFileError(f"model file: {what}. The file is damaged; load another copy.") from error
        return model


# Options of files from before they had American spelling; such files open for ever.
_RENAMED = {
    "neighbours": "neighbors",
    "neighbour_weight": "neighbor_weight",
    "neighbour_candidates": "neighbor_candidates",
    "neighbour_shrinkage": "neighbor_shrinkage",
}


def _with_present_names(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """A description with the options' names of today, where they are its options and the settings of its history."""

    def renamed(options: Any) -> Any:
        return (
            {_RENAMED.get(name, name): value for name, value in options.items()}
            if isinstance(options, dict)
            else options
        )

    history = meta.get("history")
    if isinstance(history, dict) and "settings" in history:
        meta = {**meta, "history": {**history, "settings": renamed(history["settings"])}}
    return {**meta, "options": renamed(meta.get("options"))} if "options" in meta else meta
