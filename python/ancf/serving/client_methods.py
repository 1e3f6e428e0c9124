"""What a server of ``ancf serve`` can be asked from Python.

Each method says once what is asked and how the answer is read. A client (``client.py``) sends it, at once or when it is
awaited.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancf.errors import InvalidParameterError
from ancf.scoring.requests import Id
from ancf.scoring.rules import Rules
from ancf.serving.calls import (
    Call,
    as_json,
    as_said,
    explanation_reader,
    given,
    model_call,
    moment,
    quoted,
    reader,
    rules_table,
    text,
    texts,
)

OnUnknown = Literal["popular", "raise", "skip"]
OnUnknownBuyer = Literal["raise", "skip"]
Metric = Literal["cosine", "inner"]
To = Literal["file", "previous"]
_LIST = ("user_id", "item_id")
_SIMILAR = ("query_item_id", "item_id")
_LONGEST_QUERY = 4000
"""Characters of ids in a query; more go into a body."""

# What the methods give: a value, or what is awaited for it.
Lists = TypeVar("Lists")
Why = TypeVar("Why")
Scores = TypeVar("Scores")
Said = TypeVar("Said")
Count = TypeVar("Count")


class ClientMethods(ABC, Generic[Lists, Why, Scores, Said, Count]):
    """What a server can be asked."""

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise InvalidParameterError(f'url={url!r}; give the address of a server, such as "http://127.0.0.1:8000".')
        self._url = url
        self._settings: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout,
            "headers": {} if api_key is None else {"Authorization": f"Bearer {api_key}"},
        }
        self._item_kind: str | None = None

    @abstractmethod
    def _ask(self, call: Call) -> Any:
        """Send a request, and read its answer."""

    # ---- lists

    def recommend(
        self,
        user: Id,
        N: int = 10,
        *,
        filter_already_liked_items: bool = True,
        category: str | None = None,
        items: Iterable[Id] | None = None,
        filter_items: Iterable[Id] | None = None,
        on_unknown: OnUnknown = "popular",
        rules: Rules | None = None,
        now: Any = None,
        model: str | None = None,
    ) -> Lists:
        """The N best items for a user, with all events counted.

        Parameters
        ----------
        user : id
        N : int, from 1 to 1,000
        filter_already_liked_items : bool
            Leave out what the user has bought.
        category : str, optional
            Only items of this category.
        items, filter_items : ids, optional
            What alone may be recommended, and what may not.
        on_unknown : "popular", "raise" or "skip"
            What somebody gets of whom nothing is known: the most popular items, a ``ServerError`` with status 404, or
            an empty list.
        rules : Rules, optional
            What the list obeys beside the rules of the server.
        now : time, optional
            The list as of this moment, in any spelling of ``Recommender.recommend``: later events do not count.
        model : str, optional
            Which of several models to ask; the server chooses where it is missing.

        Returns
        -------
        Recommendations
            1-D, as ``Recommender.recommend`` gives them for one user.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        InvalidDataError
            If something is no id.
        """
        only, without = texts(items), texts(filter_items)
        options = given(
            n=N,
            on_unknown=on_unknown,
            category=category,
            items=only,
            exclude=without,
            now=moment(now),
            model=model,
        )
        read = reader(user, _LIST)
        if rules is None and sum(map(len, (*(only or ()), *(without or ())))) <= _LONGEST_QUERY:
            query = {**options, "exclude_seen": "true" if filter_already_liked_items else "false"}
            by_query: Lists = self._ask(Call("GET", f"/v1/recommend/{quoted(user)}", read, query))
            return by_query
        more = {"users": [text(user)], "exclude_seen": bool(filter_already_liked_items)}
        body = {**options, **more, **given(rules=rules_table(rules))}
        answer: Lists = self._ask(Call("POST", "/v1/recommend", read, body=body))
        return answer

    def recommend_for_history(
        self,
        history: Iterable[Id],
        N: int = 10,
        *,
        weights: Iterable[float] | None = None,
        filter_already_liked_items: bool = True,
        category: str | None = None,
        items: Iterable[Id] | None = None,
        filter_items: Iterable[Id] | None = None,
        on_unknown: OnUnknown = "raise",
        rules: Rules | None = None,
        now: Any = None,
        model: str | None = None,
    ) -> Lists:
        """The N best items for somebody of whom only some items are known.

        Parameters
        ----------
        history : ids of items
        N : int, from 1 to 1,000
        weights : numbers above 0, optional
            How much of each.
        filter_already_liked_items : bool
            Leave out what is in the history.
        on_unknown : "raise", "popular" or "skip"
            What becomes of unknown items: an error, or they are ignored; and of a history of which nothing is left.
        category, items, filter_items, rules, now, model
            As of ``recommend``.

        Returns
        -------
        Recommendations

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        body = given(
            history=texts(history),
            weights=None if weights is None else [float(each) for each in weights],
            n=N,
            exclude_seen=bool(filter_already_liked_items),
            category=category,
            items=texts(items),
            exclude=texts(filter_items),
            on_unknown=on_unknown,
            rules=rules_table(rules),
            now=moment(now),
            model=model,
        )
        answer: Lists = self._ask(Call("POST", "/v1/recommend", reader(0, _LIST), body=body))
        return answer

    def buy_again(
        self,
        user: Id,
        N: int = 10,
        *,
        category: str | None = None,
        filter_items: Iterable[Id] | None = None,
        on_unknown: OnUnknownBuyer = "raise",
        now: Any = None,
        model: str | None = None,
    ) -> Lists:
        """What a user is due to buy again, of what they bought before, with all events counted.

        Parameters
        ----------
        user : id
        N : int, from 1 to 1,000
        on_unknown : "raise" or "skip"
            What becomes of somebody of whom nothing is known: a ``ServerError`` with status 404, or an empty list.
        now : time, optional
            The list as of this moment; by default that of the end of the training table, or of the user's last event
            where that is later.
        category, filter_items, model
            As of ``recommend``.

        Returns
        -------
        Recommendations
            As ``Recommender.buy_again`` gives them for one user.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        query = given(
            n=N, category=category, exclude=texts(filter_items), on_unknown=on_unknown, now=moment(now), model=model
        )
        answer: Lists = self._ask(Call("GET", f"/v1/buy-again/{quoted(user)}", reader(user, _LIST), query))
        return answer

    def popular(
        self,
        N: int = 10,
        *,
        category: str | None = None,
        filter_items: Iterable[Id] | None = None,
        model: str | None = None,
    ) -> Lists:
        """The N most popular items.

        Parameters
        ----------
        N : int, from 1 to 1,000
        category, filter_items, model
            As of ``recommend``.

        Returns
        -------
        Recommendations
            As ``Recommender.recommend`` gives them with ``on_unknown="popular"``.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        query = given(n=N, category=category, exclude=texts(filter_items), model=model)
        answer: Lists = self._ask(Call("GET", "/v1/popular", reader(0, _LIST), query))
        return answer

    def similar_items(
        self,
        item: Id,
        N: int = 10,
        *,
        metric: Metric = "cosine",
        category: str | None = None,
        filter_items: Iterable[Id] | None = None,
        model: str | None = None,
    ) -> Lists:
        """The N items most like an item.

        Parameters
        ----------
        item : id
        N : int, from 1 to 1,000
        metric : "cosine" or "inner"
            Of the vectors that are compared.
        category, filter_items, model
            As of ``recommend``.

        Returns
        -------
        Recommendations
            With the columns of ``Recommender.similar_items``.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        query = given(n=N, metric=metric, category=category, exclude=texts(filter_items), model=model)
        read = reader(item, _SIMILAR)
        answer: Lists = self._ask(Call("GET", f"/v1/similar/{quoted(item)}", read, query))
        return answer

    def bought_together(
        self,
        basket: Iterable[Id],
        N: int = 10,
        *,
        category: str | None = None,
        filter_items: Iterable[Id] | None = None,
        model: str | None = None,
    ) -> Lists:
        """What was bought together with the items of a basket.

        Parameters
        ----------
        basket : ids of items
        N : int, from 1 to 1,000
        category, filter_items, model
            As of ``recommend``.

        Returns
        -------
        Recommendations
            As ``Recommender.bought_together`` gives them for one basket.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        query = given(item_id=texts(basket), n=N, category=category, exclude=texts(filter_items), model=model)
        answer: Lists = self._ask(Call("GET", "/v1/bought-together", reader(0, _LIST), query))
        return answer

    # ---- scores

    def explain(self, user: Id, item: Id, *, now: Any = None, model: str | None = None) -> Why:
        """What each purchase of a user adds to the score of an item, with all events counted.

        Parameters
        ----------
        user, item : ids
        now, model
            As of ``recommend``.

        Returns
        -------
        Explanation
            As ``Recommender.explain`` gives it.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        query = given(user_id=text(user), item_id=text(item), now=moment(now), model=model)

        answer: Why = self._ask(Call("GET", "/v1/explain", explanation_reader(user, item), query))
        return answer

    def score(self, user: Id, items: Iterable[Id], *, now: Any = None, model: str | None = None) -> Scores:
        """The scores that some items have for a user, with all events counted.

        Parameters
        ----------
        user : id
        items : ids, up to 10,000
        now, model
            As of ``recommend``.

        Returns
        -------
        float32 array (n,)
            As ``Recommender.predict`` gives them.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        body = given(user_id=text(user), items=texts(items), now=moment(now), model=model)

        def read(said: Any, _: str) -> NDArray[np.float32]:
            return np.array(said["scores"], np.float32)

        answer: Scores = self._ask(Call("POST", "/v1/score", read, body=body, has_ids=False))
        return answer

    # ---- events

    def add_events(self, events: Iterable[Mapping[str, Any]]) -> Said:
        """Keep what users did; durable when it returns.

        Parameters
        ----------
        events : mappings with ``event_id``, ``user_id``, ``item_id``, and perhaps ``event``, ``quantity``, ``time``
            After an error send them again with the same ids: each counts once.

        Returns
        -------
        dict of ``accepted``, ``duplicates`` and ``unknown_items``

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        body = {"events": [as_json(each) for each in events]}
        answer: Said = self._ask(Call("POST", "/v1/events", as_said, body=body, has_ids=False))
        return answer

    def forget_user(self, user: Id) -> Count:
        """Erase all events of a user.

        Parameters
        ----------
        user : id

        Returns
        -------
        int, the number of the events

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        path = f"/v1/users/{quoted(user)}"
        answer: Count = self._ask(Call("DELETE", path, lambda said, _: int(said["events"]), has_ids=False))
        return answer

    # ---- the model

    def model(self, name: str | None = None) -> Said:
        """Which model answers, and what it knows.

        Parameters
        ----------
        name : str, optional
            Which of several models; the first one where it is missing.

        Returns
        -------
        dict
            ``model_version``, ``model``, ``users``, ``items``, ``learned_until`` and others; ``docs/serving.md``.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        answer: Said = self._ask(model_call(name))
        return answer

    def update(self, model: str | None = None) -> Said:
        """Begin to let a model learn the journal; ``model()["update"]`` says how it stands.

        Parameters
        ----------
        model : str, optional
            Which of several models; the first one where it is missing.

        Returns
        -------
        dict of ``state``, ``started`` and others

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request: with status 409 if an update is going on.
        """
        call = Call("POST", "/v1/update", as_said, body=given(model=model), has_ids=False)
        answer: Said = self._ask(call)
        return answer

    def reload(self, to: To = "file", *, model: str | None = None) -> Said:
        """Take the model file as it is now, or go back to the model before.

        Parameters
        ----------
        to : "file" or "previous"
        model : str, optional
            Which of several models; the first one where it is missing.

        Returns
        -------
        dict of ``model_version``, ``previous_version`` and ``changed``

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request; the model stays then.
        """
        call = Call("POST", "/v1/reload", as_said, body=given(to=to, model=model), has_ids=False)
        answer: Said = self._ask(call)
        return answer
