"""``ancf.Client`` and ``ancf.AsyncClient``: a server of ``ancf serve`` asked from Python.

Lists come as ``Recommendations``, with ids of the kind that the training table had and scores of the same bits. Both
clients say the same; what they share makes requests and reads answers (``_Calls``), and each only sends them.
"""

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError, InvalidParameterError, MissingExtraError, ServerError
from ancf.scoring.requests import Id
from ancf.scoring.results import Recommendations
from ancf.scoring.rules import Rules, check_rules

if TYPE_CHECKING:
    import httpx

OnUnknown = Literal["popular", "raise", "skip"]


class _Request(NamedTuple):
    method: str
    path: str
    query: dict[str, Any] | None = None
    body: dict[str, Any] | None = None


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtraError("ancf.Client needs httpx. Install it with: pip install 'ancf[client]'") from error
    return httpx


class _Calls:
    """Requests, and what their answers mean."""

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

    def _recommend(
        self,
        user: Id,
        N: int,
        exclude_seen: bool,
        category: str | None,
        items: Any,
        filter_items: Any,
        on_unknown: str,
        rules: Rules | None,
        model: str | None,
    ) -> _Request:
        options = {
            "n": N,
            "on_unknown": on_unknown,
            "category": category,
            "items": _texts(items),
            "exclude": _texts(filter_items),
            "model": model,
        }
        options = {name: value for name, value in options.items() if value is not None}
        if rules is None:
            flag = "true" if exclude_seen else "false"
            return _Request("GET", f"/v1/recommend/{_quoted(user)}", {**options, "exclude_seen": flag})
        more = {"users": [_text(user)], "exclude_seen": bool(exclude_seen), "rules": _rules(rules)}
        return _Request("POST", "/v1/recommend", body={**options, **more})

    def _history(
        self,
        history: Iterable[Id],
        N: int,
        weights: Iterable[float] | None,
        on_unknown: str,
        rules: Rules | None,
        model: str | None,
    ) -> _Request:
        body: dict[str, Any] = {"history": _texts(history), "n": N, "on_unknown": on_unknown}
        if weights is not None:
            body["weights"] = [float(each) for each in weights]
        if rules is not None:
            body["rules"] = _rules(rules)
        return _Request("POST", "/v1/recommend", body={**body, **_named(model)})

    def _similar(self, item: Id, N: int, model: str | None) -> _Request:
        return _Request("GET", f"/v1/similar/{_quoted(item)}", {"n": N, **_named(model)})

    def _together(self, basket: Iterable[Id], N: int, model: str | None) -> _Request:
        return _Request("GET", "/v1/bought-together", {"item_id": _texts(basket), "n": N, **_named(model)})

    def _events(self, events: Iterable[Mapping[str, Any]]) -> _Request:
        return _Request("POST", "/v1/events", body={"events": [_as_json(each) for each in events]})

    def _list(self, said: Mapping[str, Any], user: Id, kind: str, columns: tuple[str, str]) -> Recommendations:
        answer = said["lists"][0] if "lists" in said else said
        listed = answer["items"]
        ids = IdMap([_parse(each["item_id"], kind) for each in listed])
        named = any("name" in each for each in listed)
        names = np.array([each.get("name") for each in listed], object) if named else None
        sources = [each["source"] for each in listed]
        found = Recommendations(
            user,
            ids,
            np.arange(len(listed), dtype=np.int32),
            np.array([each["score"] for each in listed], np.float32),
            None,
            next((each for each in sources if each != "attributes"), "model"),
            names,
            True,
            columns,
        )
        found.unbought = np.array([each == "attributes" for each in sources], bool)
        return found

    def _read(self, response: "httpx.Response") -> Any:
        """What an answer holds.

        Raises
        ------
        ServerError
            If it is a refusal.
        """
        try:
            said = response.json()
        except ValueError:
            said = {}
        if response.status_code == 200:
            return said
        what = said.get("detail") or f"status {response.status_code}"
        remedy = said.get("remedy") or ""
        text = f"{self._url}: {what}" + (f" {remedy}" if remedy and remedy not in what else "")
        raise ServerError(text, response.status_code, said.get("place"))

    def _unreachable(self, error: Exception) -> ServerError:
        return ServerError(f"{self._url}: {str(error) or type(error).__name__}. Check that the server runs there.")


_LIST = ("user_id", "item_id")
_SIMILAR = ("query_item_id", "item_id")


class Client(_Calls):
    """A server of ``ancf serve``.

    Parameters
    ----------
    url : str
        Where it is: ``"http://127.0.0.1:8000"``.
    api_key : str, optional
    timeout : float, seconds
        For each step of a request: connecting, sending, waiting for the answer.

    Raises
    ------
    ServerError
        From every method: if the server cannot be reached or refuses; an ``OSError`` with ``status`` and ``place``.
    MissingExtraError
        If httpx is not installed (``ancf[client]``).

    Examples
    --------
    >>> import ancf
    >>> with ancf.Client("http://127.0.0.1:1") as client:
    ...     client.recommend("17850", N=5)
    Traceback (most recent call last):
      ...
    ancf.errors.ServerError: http://127.0.0.1:1: ...
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 5.0) -> None:
        super().__init__(url, api_key, timeout)
        self._http: httpx.Client = _httpx().Client(**self._settings)

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
        model: str | None = None,
    ) -> Recommendations:
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
        request = self._recommend(
            user, N, filter_already_liked_items, category, items, filter_items, on_unknown, rules, model
        )
        return self._list(self._send(request), user, self._kind(), _LIST)

    def recommend_for_history(
        self,
        history: Iterable[Id],
        N: int = 10,
        *,
        weights: Iterable[float] | None = None,
        on_unknown: OnUnknown = "raise",
        rules: Rules | None = None,
        model: str | None = None,
    ) -> Recommendations:
        """The N best items for somebody of whom only some items are known.

        Parameters
        ----------
        history : ids of items
        N : int, from 1 to 1,000
        weights : numbers above 0, optional
            How much of each.
        on_unknown : "raise", "popular" or "skip"
            What becomes of unknown items: an error, or they are ignored; and of a history of which nothing is left.
        rules, model
            As of ``recommend``.

        Returns
        -------
        Recommendations

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        answer = self._send(self._history(history, N, weights, on_unknown, rules, model))
        return self._list(answer, 0, self._kind(), _LIST)

    def similar_items(self, item: Id, N: int = 10, *, model: str | None = None) -> Recommendations:
        """The N items most like an item.

        Parameters
        ----------
        item : id
        N : int, from 1 to 1,000
        model
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
        return self._list(self._send(self._similar(item, N, model)), item, self._kind(), _SIMILAR)

    def bought_together(self, basket: Iterable[Id], N: int = 10, *, model: str | None = None) -> Recommendations:
        """What was bought together with the items of a basket.

        Parameters
        ----------
        basket : ids of items
        N : int, from 1 to 1,000
        model
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
        return self._list(self._send(self._together(basket, N, model)), 0, self._kind(), _LIST)

    def add_events(self, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
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
        said: dict[str, Any] = self._send(self._events(events))
        return said

    def forget_user(self, user: Id) -> int:
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
        return int(self._send(_Request("DELETE", f"/v1/users/{_quoted(user)}"))["events"])

    def model(self) -> dict[str, Any]:
        """Which model answers, and what it knows.

        Returns
        -------
        dict
            ``model_version``, ``model``, ``users``, ``items``, ``learned_until`` and others; ``docs/serving.md``.

        Raises
        ------
        ServerError
            If the server cannot be reached or refuses the request.
        """
        said: dict[str, Any] = self._send(_Request("GET", "/v1/model"))
        return said

    def close(self) -> None:
        """Close all connections.

        Returns
        -------
        None
        """
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _kind(self) -> str:
        if self._item_kind is None:
            self._item_kind = str(self.model()["item_id_kind"])
        return self._item_kind

    def _send(self, request: _Request) -> Any:
        try:
            response = self._http.request(request.method, request.path, params=request.query, json=request.body)
        except _httpx().HTTPError as error:
            raise self._unreachable(error) from error
        return self._read(response)


class AsyncClient(_Calls):
    """The same as ``Client`` for asyncio: every method is a coroutine.

    Parameters
    ----------
    url, api_key, timeout
        As of ``Client``.

    Examples
    --------
    >>> import ancf, asyncio
    >>> async def ask():
    ...     async with ancf.AsyncClient("http://127.0.0.1:1") as client:
    ...         return await client.recommend("17850", N=5)
    >>> asyncio.run(ask())
    Traceback (most recent call last):
      ...
    ancf.errors.ServerError: http://127.0.0.1:1: ...
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 5.0) -> None:
        super().__init__(url, api_key, timeout)
        self._http: httpx.AsyncClient = _httpx().AsyncClient(**self._settings)

    async def recommend(
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
        model: str | None = None,
    ) -> Recommendations:
        """See ``Client.recommend``."""
        request = self._recommend(
            user, N, filter_already_liked_items, category, items, filter_items, on_unknown, rules, model
        )
        return self._list(await self._send(request), user, await self._kind(), _LIST)

    async def recommend_for_history(
        self,
        history: Iterable[Id],
        N: int = 10,
        *,
        weights: Iterable[float] | None = None,
        on_unknown: OnUnknown = "raise",
        rules: Rules | None = None,
        model: str | None = None,
    ) -> Recommendations:
        """See ``Client.recommend_for_history``."""
        answer = await self._send(self._history(history, N, weights, on_unknown, rules, model))
        return self._list(answer, 0, await self._kind(), _LIST)

    async def similar_items(self, item: Id, N: int = 10, *, model: str | None = None) -> Recommendations:
        """See ``Client.similar_items``."""
        return self._list(await self._send(self._similar(item, N, model)), item, await self._kind(), _SIMILAR)

    async def bought_together(self, basket: Iterable[Id], N: int = 10, *, model: str | None = None) -> Recommendations:
        """See ``Client.bought_together``."""
        return self._list(await self._send(self._together(basket, N, model)), 0, await self._kind(), _LIST)

    async def add_events(self, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """See ``Client.add_events``."""
        said: dict[str, Any] = await self._send(self._events(events))
        return said

    async def forget_user(self, user: Id) -> int:
        """See ``Client.forget_user``."""
        return int((await self._send(_Request("DELETE", f"/v1/users/{_quoted(user)}")))["events"])

    async def model(self) -> dict[str, Any]:
        """See ``Client.model``."""
        said: dict[str, Any] = await self._send(_Request("GET", "/v1/model"))
        return said

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _kind(self) -> str:
        if self._item_kind is None:
            self._item_kind = str((await self.model())["item_id_kind"])
        return self._item_kind

    async def _send(self, request: _Request) -> Any:
        try:
            response = await self._http.request(request.method, request.path, params=request.query, json=request.body)
        except _httpx().HTTPError as error:
            raise self._unreachable(error) from error
        return self._read(response)


def _text(one: Id) -> str:
    """An id as it is written in a request."""
    if isinstance(one, bool) or not isinstance(one, (str, int, bytes, uuid.UUID, np.integer)):
        raise InvalidDataError(f"{one!r} is no id. Give text, a whole number, bytes or a UUID.")
    if isinstance(one, bytes):
        return one.decode("utf-8", "replace")
    return str(one)


def _texts(several: Iterable[Id] | None) -> list[str] | None:
    if several is None:
        return None
    if isinstance(several, (str, bytes)):
        return [_text(several)]
    return [_text(each) for each in several]


def _named(model: str | None) -> dict[str, str]:
    return {} if model is None else {"model": model}


def _rules(rules: Rules) -> dict[str, Any]:
    """Rules with ids as text."""
    check_rules(rules)
    table = rules.to_dict()
    if "deny" in table:
        table["deny"] = [_text(each) for each in table["deny"]]
    if "pins" in table:
        table["pins"] = {str(place): _text(each) for place, each in table["pins"].items()}
    return table


def _quoted(one: Id) -> str:
    from urllib.parse import quote

    return quote(_text(one), safe="")


def _parse(text: str, kind: str) -> Any:
    """An id of an answer as the training table had it."""
    with contextlib.suppress(ValueError):
        if kind == "int":
            return int(text)
        if kind == "uuid":
            return uuid.UUID(text)
    return text.encode() if kind == "bytes" else text


def _as_json(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event with ids as text and its time as RFC 3339 says it."""
    said = dict(event)
    for name in ("user_id", "item_id"):
        if name in said:
            said[name] = _text(said[name])
    when = said.get("time")
    if isinstance(when, np.datetime64):
        when = when.astype("datetime64[us]").item()
    if when is not None and hasattr(when, "isoformat"):
        said["time"] = when.isoformat()
    return said
