"""What a fitted model says of itself: ids, names, attributes, vectors, histories, and what it learned last."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.interactions import Mark
from ancf.errors import InvalidParameterError, _NoSuchPartError
from ancf.params import checks_call
from ancf.scoring.purchases import History
from ancf.scoring.requests import Id, as_objects, is_one, unknown_users
from ancf.scoring.scorer import HasScorer
from ancf.scoring.update_report import UpdateReport


class Learned(HasScorer):
    """The part of every recommender that says what it learned; see ``Recommender``."""

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

    @property
    def last_update_(self) -> UpdateReport | None:
        """What the last ``partial_fit`` brought; None for a model that was fitted or loaded since."""
        return self._fitted().update
