"""The contract of every recommender: raw ids in and out, one scorer behind all answers, the same lists by every way.

A model learns in ``fit`` and ends with one assignment, ``self._scorer = Scorer(...)``: ids, what each user has had,
vectors, item-item weights and an ``Encoder`` for people who were not in training (``ancf.scoring.scorer``). Every
method here asks that scorer, so that a pair has the same bits everywhere, and a model that is fitted or loaded anew
while others ask it answers each of them wholly from one state or the other. ``docs/adding-a-model.md`` shows one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, overload

import numpy as np
from numpy.typing import NDArray

from ancf import model_file
from ancf.checks import check_flag, check_integer, check_path, check_threads
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions, Mark
from ancf.errors import (
    AncfError,
    InvalidCallError,
    InvalidDataError,
    InvalidParameterError,
    ModelFileError,
    NotFittedError,
    _NoSuchPartError,
)
from ancf.models.asking import Asking
from ancf.params import Params, checks_call
from ancf.scoring import bulk, explain, export, lists, similar, updates
from ancf.scoring.bulk import StreamResult
from ancf.scoring.export import Format
from ancf.scoring.limits import check_n
from ancf.scoring.lists import OnUnknown
from ancf.scoring.purchases import History, Purchases
from ancf.scoring.requests import Id, Ids, ItemFilter, SeveralIds, as_objects, is_one, unknown_users
from ancf.scoring.results import Explanation, Recommendations
from ancf.scoring.rules import Rules
from ancf.scoring.scorer import Arrays, Encoder, Scorer
from ancf.scoring.similar import Metric
from ancf.scoring.unknown_ids import refuse_other_table, used_ids
from ancf.scoring.update_report import UpdateReport
from ancf.scoring.updates import Update
from ancf.search_space import SearchSpace


class Recommender(Params, Asking, ABC):
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

    # ---- what was learned

    @property
    def user_ids_(self) -> IdMap:
        """The users of the training table."""
        return self._fitted().user_ids

    @property
    def item_ids_(self) -> IdMap:
        """The items of the training table."""
        return self._fitted().item_ids

    @property
    def item_names_(self) -> NDArray[Any] | None:
        """The items' names in the order of ``item_ids_``; None where the table had none."""
        return self._fitted().item_names

    @property
    def item_vectors_(self) -> NDArray[np.float32]:
        """The items' vectors q as they are served (n_items, d), float32, in the order of ``item_ids_``; read-only.

        ``user_vectors_ @ item_vectors_.T`` is the part of the score that comes from the vectors. It is all of the score
        for ``Factors``, ``Popular`` (d is 1: the item's count) and an ``ANCF`` with ``neighbors=0`` and the plain
        inner product; other options add item-item weights, weigh the factors or squash the sum (``docs/scores.md``).

        Raises
        ------
        NotFittedError
        InvalidParameterError
            If the model has no vectors (``ItemKNN``); also an ``AttributeError``.
        """
        return self._vectors("item_vectors")

    @property
    def user_vectors_(self) -> NDArray[np.float32]:
        """The users' vectors p as they are served (n_users, d), float32, in the order of ``user_ids_``; read-only.

        See ``item_vectors_`` for what ⟨p, q⟩ is of the score, and for the errors. Where ``ANCF`` has
        ``attention="target"``, a user looks different to every item, and these are not used alone.
        """
        return self._vectors("user_vectors")

    def _vectors(self, which: str) -> NDArray[np.float32]:
        scorer = self._fitted()
        vectors: NDArray[np.float32] = getattr(scorer, which).view()
        if not vectors.shape[1]:
            raise _NoSuchPartError(
                f"{which}_: {scorer.model} has no vectors; its scores are sums of item-item weights. "
                "Ask predict or similar_items, or use a model that learns vectors: ANCF."
            )
        vectors.flags.writeable = False
        return vectors

    @property
    def item_categories_(self) -> NDArray[Any] | None:
        """The items' categories in the order of ``item_ids_``; None where the table had none."""
        return self._fitted().item_categories

    @property
    def item_features_(self) -> Features | None:
        """The items' attributes, one row for each of ``item_ids_``; None where nothing is known of them.

        Names and categories of the purchase table are among them, as the columns ``name`` and ``category`` unless the
        table of attributes has columns of such headings.
        """
        return self._fitted().features_of_items

    @property
    def user_features_(self) -> Features | None:
        """The users' attributes, one row for each of ``user_ids_``; None where nothing is known of them."""
        scorer = self._fitted()
        return None if scorer.user_features is None else scorer.user_features.of(scorer.user_ids)

    @property
    def event_weights_(self) -> dict[str, float] | None:
        """What an event of each type weighed in training; None where the table had no types."""
        weights = self._fitted().event_weights
        return None if weights is None else dict(weights)

    @property
    def mark_(self) -> Mark | None:
        """What the table that the model learned from last calls its last event (``Interactions.mark``)."""
        purchases = self._fitted().purchases
        return None if purchases is None else purchases.mark

    @checks_call
    def history(self, user: Id) -> History:
        """What the model has of a user: items, quantities, the number of purchases and their times.

        Parameters
        ----------
        user : id, as it stood in the training table

        Returns
        -------
        History
            ``item_ids``, ``weights`` (summed quantities), ``counts`` and ``times`` (seconds since 1970 of the last
            purchase), one entry for each item in the order of ``item_ids_``. ``recommend_for_history`` takes them, with
            what happened since.

        Raises
        ------
        UnknownUserError
            If the user was not in training; names the id.
        InvalidParameterError
            If several users are given.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 1, 2], item=["a", "b", "b", "b"], time=[86400, 0, 86400, 0])
        >>> had = ancf.Popular().fit(data).history(1)
        >>> had.item_ids.tolist(), had.counts.tolist(), had.times.tolist()
        (['a', 'b'], [1, 2], [86400, 86400])
        """
        scorer = self._fitted()
        if not is_one(user):
            raise InvalidParameterError(f"history takes one user, not a {type(user).__name__}. Ask for each by its id.")
        row = scorer.user_ids.position(user)
        if row < 0:
            raise unknown_users(as_objects([user]), scorer.user_ids, 1, scoring=True)
        if scorer.purchases is None:
            return History(scorer.item_ids.take(scorer.seen.row(row)), None, None, None)
        return scorer.purchases.history(scorer.seen, row, scorer.item_ids)

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
            With ids of the same kind as the training table's, and times if that had some. Read with
            ``returns="keep"``, its negative quantities take back what was bought before.
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
        interactions = updates.with_features(scorer, interactions, item_features, user_features)
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

    @property
    def last_update_(self) -> UpdateReport | None:
        """What the last ``partial_fit`` brought; None for a model that was fitted or loaded since."""
        return self._fitted().update

    # ---- recommending

    @checks_call
    def recommend(
        self,
        users: Ids,
        N: int = 10,
        *,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        on_unknown: OnUnknown = "raise",
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
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
        items : what alone may be recommended, optional
            For everybody: ids in any container, a boolean mask in the order of ``item_ids_``, or a boolean pandas
            Series whose index holds the ids (an item that it does not name is not flagged). For each user their own: a
            mapping user → any of these, a table with the columns ``user_id`` and ``item_id``, or one list for each
            user in the order of ``users``. A mapping must have every user.
        filter_items : what may not be recommended, optional
            In the same forms. A user without an entry in a mapping or table has nothing left out.

            In both, ids that the model does not know are ignored, since they cannot be listed anyway; but a filter of
            which no id is known is an error, and so is an id that is known in another kind (``7`` for ``"7"``).
        on_unknown : "raise", "popular" or "skip"
            What becomes of users that were not in training: an error, the most popular items (marked ``popular`` in the
            column ``source``), or an empty list.
        rules : Rules, optional
            What the shop wants of every list: filters and quotas by attribute, boosts, pins, diversity
            (docs/rules.md). The scores stay those of the model.
        shown : what was shown before, optional
            In the forms of ``filter_items``; an item comes later in the list for each time that it stands there
            (``Rules(fade=...)``).
        now : time, optional
            The day for which the lists are, for tests and shops whose last row is old; by default the end of the
            training table. Purchases after it do not count, and items that nobody had bought by then are not listed
            (docs/rules.md). In any spelling of a table, such as datetimes, text or seconds since 1970; a date is its
            first moment.

        Returns
        -------
        Recommendations
            Unpacks to ``ids`` (n_users × N) and ``scores`` (float32), best first, equal scores in the order of
            the item ids.

        Raises
        ------
        UnknownUserError
            If a user was not in training and ``on_unknown="raise"``; names the ids.
        InvalidDataError
            If a filter holds a missing id, nothing that the model knows, or does not fit the users or items; with
            ``now``, if the model knows no times, or nothing had been bought by then.
        InvalidParameterError
            If an option makes no sense; names it and its value.
        NotFittedError

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> model = ancf.ItemKNN(shrinkage=0).fit(data)
        >>> ids, scores = model.recommend(1, N=2)
        >>> ids.tolist()
        ['c']
        >>> model.recommend([1, 2], filter_items={1: ["c"]})
        user_id  item_id  score   rank  source
              2  a        0.7071     1  model
        """
        scorer = self._scorer
        plain = items is None and filter_items is None and type(on_unknown) is str and rules is None and shown is None
        plain = plain and now is None
        if scorer is not None and plain and on_unknown in lists.ON_UNKNOWN:
            known = scorer.top_n_for_known(users, N, filter_already_liked_items)
            if known is not None:
                return known
        return lists.recommend(
            self._fitted().as_of(now),
            users,
            N,
            filter_already_liked_items=filter_already_liked_items,
            items=items,
            filter_items=filter_items,
            on_unknown=on_unknown,
            num_threads=self.num_threads,
            rules=rules,
            shown=shown,
        )

    @checks_call
    def recommend_for_history(
        self,
        history: SeveralIds | Iterator[Any],
        N: int = 10,
        *,
        weights: SeveralIds | Iterator[Any] | None = None,
        times: SeveralIds | Iterator[Any] | None = None,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        on_unknown: OnUnknown = "raise",
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
    ) -> Recommendations:
        """The N best items for somebody of whom only the purchases are known.

        Parameters
        ----------
        history : item ids, mapping item → weight, or a list of either
            One history gives 1-D results, a list of histories one list for each. Ids in any container.
        weights : numbers, shaped like ``history``, optional
            How much of each item; 1 without. A mapping has them already.
        times : times, shaped like ``history``, optional
            When each was bought, for models that let purchases age, in any spelling of a table, such as datetimes, text
            or seconds since 1970 (docs/reading.md).
        on_unknown : "raise", "popular" or "skip"
            What becomes of items that were not in training: an error, or they are ignored. A history of which
            nothing is left is an error, gets the most popular items, or an empty list.

        Other parameters are those of ``recommend``; with ``now``, what a history has after it does not count, as far as
        ``times`` say. Filters for each history are a mapping from its number, from 0, or one list for each.

        Returns
        -------
        Recommendations
            As ``recommend`` gives them; ``user_id`` is the number of the history, from 0.

        Raises
        ------
        UnknownItemError
            If an item was not in training and ``on_unknown="raise"``, or is known in another kind (``7`` for ``"7"``);
            names the ids.
        InvalidDataError
            If weights or times do not fit the history, or are no numbers and dates.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> ancf.ItemKNN().fit(data).recommend_for_history(["a"], N=2).ids.tolist()
        ['b', 'c']
        """
        scorer = self._fitted()
        plain = weights is None and times is None and items is None and filter_items is None
        plain = plain and rules is None and shown is None and now is None
        if plain and type(on_unknown) is str and on_unknown in lists.ON_UNKNOWN:
            short = scorer.top_n_for_short_history(history, N, filter_already_liked_items, self.num_threads)
            if short is not None:
                return short
        return lists.recommend_for_history(
            scorer.as_of(now),
            history,
            N,
            weights=weights,
            times=times,
            filter_already_liked_items=filter_already_liked_items,
            items=items,
            filter_items=filter_items,
            on_unknown=on_unknown,
            num_threads=self.num_threads,
            rules=rules,
            shown=shown,
        )

    @overload
    def recommend_all(
        self,
        N: int = 10,
        *,
        out: None = None,
        users: Ids | None = None,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
        resume: bool = False,
        show_progress: bool | None = None,
    ) -> Recommendations: ...

    @overload
    def recommend_all(
        self,
        N: int = 10,
        *,
        out: str | Path,
        users: Ids | None = None,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
        names: bool = False,
        explain: int = 0,
        resume: bool = False,
        show_progress: bool | None = None,
    ) -> StreamResult: ...

    @overload
    def recommend_all(
        self,
        N: int = 10,
        *,
        out: str | Path | None,
        users: Ids | None = None,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
        names: bool = False,
        explain: int = 0,
        resume: bool = False,
        show_progress: bool | None = None,
    ) -> Recommendations | StreamResult: ...

    @checks_call
    def recommend_all(
        self,
        N: int = 10,
        *,
        out: str | Path | None = None,
        users: Ids | None = None,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
        names: bool = False,
        explain: int = 0,
        resume: bool = False,
        show_progress: bool | None = None,
    ) -> Recommendations | StreamResult:
        """The N best items for every user of the training table, in memory or, with ``out=``, streamed into a file.

        Parameters
        ----------
        N : int, at least 1
        out : path ending in .parquet, .csv, .jsonl, .csv.gz or .jsonl.gz, optional
            Written as the lists are found, with memory that does not depend on the number of users. The file appears
            when it is complete; an interrupted call leaves none.
        users : id or ids, optional
            Some users of the training table instead of all, in the order given.
        filter_already_liked_items, items, filter_items, rules, shown, now
            As in ``recommend``; with ``now``, everybody is who had bought something by then.
        names : bool
            With ``out``: the columns ``name`` and ``category`` behind ``item_id``, as far as the training table had
            them. Lists in memory have names in any case.
        explain : int, at least 0
            With ``out``: a column ``reasons`` with so many purchases that add most to each score, the first of
            ``model.explain``. Each is ``{"item_id", "name", "adds"}``: in Parquet a list of structs, in JSON lines a
            list, in CSV the same as JSON text. Each score is taken apart, which takes many times as long as the list.
        resume : bool
            With ``out``: keep finished parts when interrupted, and go on from those of an earlier call.
        show_progress : bool, optional
            A progress bar on stderr; by default where that is a terminal.

        Returns
        -------
        Recommendations, or with ``out`` a ``StreamResult`` with the path and the number of users and rows.

        Raises
        ------
        UnknownUserError
            If one of ``users`` was not in training; names the ids.
        InvalidParameterError
            If the lists would not fit into memory (names ``out=`` as the way out), the file's kind is unknown, or
            ``names=True`` where the model knows neither names nor categories.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> ancf.ItemKNN(shrinkage=0).fit(data).recommend_all(N=1, users=[3, 1])
        user_id  item_id  score   rank  source
              3  b        0.5        1  model
              1  c        0.5        1  model
        """
        scorer = self._fitted().as_of(now)
        request: dict[str, Any] = {
            "filter_already_liked_items": filter_already_liked_items,
            "users": users,
            "items": items,
            "filter_items": filter_items,
            "rules": rules,
            "shown": shown,
            "num_threads": self.num_threads,
        }
        if out is not None:
            about: dict[str, Any] = {"names": names, "explain": explain, "show_progress": show_progress}
            return bulk.write_lists(scorer, check_n(N), check_path("out", out), resume=resume, **about, **request)
        for name, value, why in (
            ("resume", resume, "the file whose parts are to be taken up"),
            ("names", names, "the file to write them into; lists in memory have names in any case"),
            ("explain", explain, "the file to write reasons into; for lists in memory call model.explain"),
        ):
            if name == "explain":
                check_integer(name, value, 0, 1000)
            else:
                check_flag(name, value)
            if value:
                raise InvalidParameterError(f"{name}={value!r} needs out=, {why}.")
        if show_progress is not None:
            check_flag("show_progress", show_progress)
        return lists.recommend_all(scorer, N, **request)

    # Of an id without a type (an element of an object array) no checker can tell that it is one: the answer is Any.
    @overload
    def predict(self, users: Id, items: Id, *, now: Any = None) -> float: ...
    @overload
    def predict(self, users: SeveralIds | Iterator[Any], items: Ids, *, now: Any = None) -> NDArray[np.float32]: ...
    @overload
    def predict(self, users: Ids, items: SeveralIds | Iterator[Any], *, now: Any = None) -> NDArray[np.float32]: ...
    @checks_call
    def predict(self, users: Ids, items: Ids, *, now: Any = None) -> float | NDArray[np.float32]:
        """The scores of pairs, the same bits that ``recommend`` gives them.

        Parameters
        ----------
        users, items : ids
            Two of the same length, or one id on either side for all of the other.
        now : time, optional
            As in ``recommend``.

        Returns
        -------
        float32 array (n,), or a float for one pair

        Raises
        ------
        UnknownUserError, UnknownItemError
            If one was not in training; names the ids.
        InvalidDataError
            If there are not as many users as items.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"])
        >>> model = ancf.Popular().fit(data)
        >>> model.predict(1, "b"), model.predict(1, ["a", "b"]).tolist()
        (2.0, [1.0, 2.0])
        """
        return lists.predict(self._fitted().as_of(now), users, items)

    @checks_call
    def explain(
        self,
        user: Id | None = None,
        item: Id | None = None,
        *,
        history: SeveralIds | Iterator[Any] | None = None,
        weights: SeveralIds | Iterator[Any] | None = None,
        times: SeveralIds | Iterator[Any] | None = None,
        on_unknown: OnUnknown = "raise",
        now: Any = None,
    ) -> Explanation:
        """What each purchase adds to the score of an item.

        Parameters
        ----------
        user : id of a user of the training table, or None with ``history``
        item : id of any item the model knows
        history, weights, times
            One history instead of ``user``, as ``recommend_for_history`` takes it.
        on_unknown : "raise", "popular" or "skip"
            As in ``recommend`` and ``recommend_for_history``: what becomes of unknown users, and of unknown items of a
            history. "popular" explains the score of the popular items where nothing is known of somebody; "skip" has
            no list there, and so no score.
        now : time, optional
            As in ``recommend``.

        Returns
        -------
        Explanation
            ``score`` has the bits of the same item's score in the list. The contributions add up to it (to what goes
            into the sigmoid, where ``link`` is one), but for rounding.

        Raises
        ------
        UnknownUserError, UnknownItemError
            If one was not in training; names the ids.
        InvalidDataError
            If it is not one user, one item and one history, or nothing of the history is known.
        InvalidParameterError
            If both a user and a history are given, or weights and times without a history.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> ancf.ItemKNN(shrinkage=0).fit(data).explain(history=["a", "c"], item="b")
        b for this history: score 1.207
        because of  adds
        a           0.7071
        c              0.5
        """
        return explain.explain(
            self._fitted().as_of(now),
            user,
            item,
            history,
            weights=weights,
            times=times,
            on_unknown=on_unknown,
            num_threads=self.num_threads,
        )

    @checks_call
    def similar_items(
        self,
        query: Ids,
        N: int = 10,
        *,
        metric: Metric = "cosine",
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        rules: Rules | None = None,
    ) -> Recommendations:
        """The N items most like each given item, itself left out.

        Models with vectors compare these; a model without (item-kNN) gives an item's row of its similarity matrix.

        Parameters
        ----------
        query : id or sequence of ids; ``model.item_ids_.values`` for all
        N : int, at least 1
            Fewer rows come back where fewer items are eligible.
        metric : "cosine" or "inner"
            The cosine of the angle between two vectors, or their inner product. A similarity matrix has one measure,
            and the metric does not change it.
        items, filter_items
            What alone may be listed, and what may not, in the forms of ``recommend``; a mapping is by the items of
            ``query``.
        rules : Rules, optional
            As in ``recommend``; boosts multiply likenesses.

        Returns
        -------
        Recommendations
            With the columns ``query_item_id, item_id, score, rank, source``, and ``name`` where names are known.

        Raises
        ------
        UnknownItemError
            If an item was not in training; names the ids.
        InvalidDataError
            If a filter does not fit.
        InvalidParameterError
            If the model has nothing to compare items by.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> model = ancf.ItemKNN().fit(data)
        >>> model.similar_items("b", N=5).ids.tolist(), model.similar_items("b", filter_items="a").ids.tolist()
        (['a', 'c'], ['c'])
        """
        return similar.similar_items(
            self._fitted(),
            query,
            N,
            metric,
            items=items,
            filter_items=filter_items,
            num_threads=self.num_threads,
            rules=rules,
        )

    @checks_call
    def similar_users(self, users: Ids, N: int = 10, *, metric: Metric = "cosine") -> Recommendations:
        """The N users most like each given user, themselves left out.

        Models with vectors compare these; a model without (item-kNN) compares users by the purchases they share.

        Parameters
        ----------
        users : id or sequence of ids; ``model.user_ids_.values`` for all
        N : int, at least 1
        metric : "cosine" or "inner"
            Of the vectors; of the purchases the cosine, or the number that both have.

        Returns
        -------
        Recommendations
            With the columns ``query_user_id, user_id, score, rank, source``.

        Raises
        ------
        UnknownUserError
            If a user was not in training; names the ids.
        InvalidParameterError
            If the model has nothing to compare users by.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> ancf.ItemKNN().fit(data).similar_users(1, N=5).ids.tolist()
        [2]
        """
        return similar.similar_users(self._fitted(), users, N, metric, self.num_threads)

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
        model_file.save(check_path("path", path), scorer.model, *scorer.to_arrays())

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
        return model_file.to_bytes(scorer.model, *scorer.to_arrays())

    # Pickles, deep copies, joblib and multiprocessing: what was learned goes through the bytes of the model file, with
    # all checks of loading one; what else stands on the object goes as it is.

    def __getstate__(self) -> dict[str, Any]:
        scorer = self._scorer
        learned = None if scorer is None else model_file.to_bytes(scorer.model, *scorer.to_arrays())
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
            raise ModelFileError(f"model file: options that {cls.__name__} cannot take ({error}).") from error
        try:
            encoder = model._load_encoder(arrays, dict(meta))
            model._scorer = Scorer.from_arrays(cls.__name__, model.get_params(), encoder, arrays, dict(meta))
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
