"""What a fitted model is asked first: lists, scores and reasons."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_flag, check_integer, check_path
from ancf.errors import InvalidParameterError
from ancf.params import checks_call
from ancf.scoring import bulk, explain, lists
from ancf.scoring.bulk import StreamResult
from ancf.scoring.limits import check_n
from ancf.scoring.lists import OnUnknown
from ancf.scoring.requests import Id, Ids, ItemFilter, SeveralIds
from ancf.scoring.results import Explanation, Recommendations
from ancf.scoring.rules import Rules
from ancf.scoring.scorer import HasScorer, Scorer


class Recommending(HasScorer):
    """The part of every recommender that lists, scores and explains; see ``Recommender``."""

    _scorer: Scorer | None = None

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
