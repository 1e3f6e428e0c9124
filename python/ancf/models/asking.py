"""What a fitted model is asked beside its lists: a view with a table of stock, why an item is missing, what goes with
what, and what is similar."""

from typing import Any, Self

from ancf.errors import InvalidCallError
from ancf.params import checks_call
from ancf.scoring import similar
from ancf.scoring.buy_again import OnUnknownBuyer, buy_again
from ancf.scoring.filters import positions_of
from ancf.scoring.requests import Id, Ids, ItemFilter, SeveralIds
from ancf.scoring.results import Recommendations
from ancf.scoring.rules import Rules
from ancf.scoring.scorer import HasScorer, Scorer
from ancf.scoring.similar import Metric
from ancf.scoring.together import bought_together
from ancf.scoring.why_not import WhyNot, why_not


class Asking(HasScorer):
    """The part of every recommender that asks its scorer; see ``Recommender``."""

    _scorer: Scorer | None = None

    @checks_call
    def with_stock(self, items: ItemFilter | None) -> Self:
        """A view of the model that lists nothing but what is in stock.

        It is made once and asked as often as wanted, shares everything with the model, and never changes: whoever has
        the old view goes on with the old stock, and ``shop = model.with_stock(ids)`` puts the new one in place at once.
        It cannot be fitted, updated or saved; the model that it was made of can.

        Parameters
        ----------
        items : items for everybody, in any form of ``recommend(items=)``, or None
            What is in stock; ids that the model does not know are ignored. None: everything.

        Returns
        -------
        a model of the same class

        Raises
        ------
        InvalidDataError
            If none of the ids is known, one is missing, or it is one list for each user.
        NotFittedError

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> model = ancf.Popular().fit(data)
        >>> shop = model.with_stock(["b", "a new product"])
        >>> shop.recommend(3).ids.tolist(), model.recommend(3).ids.tolist()
        (['b'], ['b', 'a'])
        """
        scorer = self._fitted()
        stock = None
        if items is not None:
            stock = scorer.mask(positions_of("items", items, scorer.item_ids))
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._scorer = scorer.with_stock(stock)
        return view

    def _refuse_view(self, what: str) -> None:
        """A view shares what it shows with others, and no file holds a stock."""
        if self._scorer is not None and self._scorer.stock is not None:
            raise InvalidCallError(
                f"{what}: this is a view with a table of stock (with_stock). Call {what} of the model that it was made "
                "of, or of view.with_stock(None)."
            )

    @checks_call
    def why_not(
        self,
        user: Id,
        item: Id,
        N: int = 10,
        *,
        filter_already_liked_items: bool = True,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
    ) -> WhyNot:
        """Why an item is not in the list of a user, or where it is.

        Parameters
        ----------
        user : id of a user of the training table
        item : id
        N, filter_already_liked_items, items, filter_items, rules, shown, now
            Those of the call of ``recommend`` whose list it is.

        Returns
        -------
        WhyNot
            ``reason`` in a word, ``place`` and ``score``; prints as a sentence.

        Raises
        ------
        UnknownUserError
            If the user was not in training.
        UnknownItemError
            If the item is known in another kind or spelling.
        InvalidParameterError
            If several users or items are given.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> print(ancf.Popular().fit(data).why_not(3, "a", N=1))
        'a' is not listed: it is at place 2 of 2 by score, and the list ends at 1.
        """
        return why_not(
            self._fitted().as_of(now),
            user,
            item,
            N,
            filter_already_liked_items=filter_already_liked_items,
            items=items,
            filter_items=filter_items,
            rules=rules,
            shown=shown,
            num_threads=self.num_threads,
        )

    @checks_call
    def bought_together(
        self,
        basket: SeveralIds,
        N: int = 10,
        *,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        filter_basket: bool = True,
        rules: Rules | None = None,
    ) -> Recommendations:
        """What belongs to a basket: the items that were bought at the same moments as those in it.

        Whatever the model, this is counted from the purchases that it holds (docs/rules.md); ``similar_items`` finds
        what could take an item's place.

        Parameters
        ----------
        basket : item ids, or a list of such lists
            One basket gives 1-D results.
        N : int, at least 1
            Fewer rows come back where fewer items were ever bought together with these.
        items, filter_items
            What alone may be listed, and what may not, in the forms of ``recommend``; a mapping is by the number of the
            basket, from 0.
        filter_basket : bool
            Leave out what is in the basket.
        rules : Rules, optional
            As in ``recommend``.

        Returns
        -------
        Recommendations
            ``user_id`` is the number of the basket, from 0.

        Raises
        ------
        UnknownItemError
            If an item was not in training; names the ids.
        InvalidDataError
            If a basket is empty, or the model holds no purchases.

        Examples
        --------
        >>> import ancf
        >>> day = 86400
        >>> data = ancf.Interactions.from_ids(
        ...     user=[1, 1, 1, 2, 2], item=["tea", "cup", "mat", "tea", "cup"], time=[0, 0, day, 0, 0]
        ... )
        >>> ancf.Popular().fit(data).bought_together(["tea"]).ids.tolist()
        ['cup']
        """
        return bought_together(
            self._fitted(),
            basket,
            N,
            items=items,
            filter_items=filter_items,
            rules=rules,
            filter_basket=filter_basket,
            num_threads=self.num_threads,
        )

    @checks_call
    def buy_again(
        self,
        users: Ids | None = None,
        N: int = 10,
        *,
        items: ItemFilter | None = None,
        filter_items: ItemFilter | None = None,
        on_unknown: OnUnknownBuyer = "raise",
        rules: Rules | None = None,
        shown: ItemFilter | None = None,
        now: Any = None,
    ) -> Recommendations:
        """What customers are due to buy again, of what they bought before.

        How often they bought an item, how many of its buyers come back for it these days, and whether the time that
        usually passes between two purchases has passed. Whatever the model, this is counted from the purchases that it
        holds, which need times (docs/rules.md has the formula); ``recommend`` finds what is new to a customer.

        Parameters
        ----------
        users : id or ids, optional
            As in ``recommend``; by default everybody.
        N : int, at least 1
            Fewer rows come back where somebody had fewer items.
        items, filter_items, rules, shown
            As in ``recommend``.
        on_unknown : "raise" or "skip"
            What becomes of users that were not in training: an error, or an empty list.
        now : time, optional
            The day for which the lists are, by default the end of the training table; later purchases do not count. In
            any spelling of a table, such as datetimes, text or seconds since 1970 (docs/reading.md); a date is its
            first moment.

        Returns
        -------
        Recommendations
            Marked ``again`` in the column ``source``; the scores compare within one list.

        Raises
        ------
        UnknownUserError
            If a user was not in training and ``on_unknown="raise"``; names the ids.
        InvalidDataError
            If the model holds no times of purchases, or nothing had been bought by ``now``.

        Examples
        --------
        >>> import ancf
        >>> day = 86400
        >>> data = ancf.Interactions.from_ids(
        ...     user=[1, 1, 1, 1, 1], item=["milk", "milk", "milk", "soap", "soap"],
        ...     time=[0, 7 * day, 14 * day, 10 * day, 14 * day],
        ... )
        >>> ancf.Popular().fit(data).buy_again(1, now=21 * day).ids.tolist()
        ['milk', 'soap']
        """
        return buy_again(
            self._fitted().as_of(now),
            users,
            N,
            items=items,
            filter_items=filter_items,
            on_unknown=on_unknown,
            rules=rules,
            shown=shown,
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
