"""``ancf.Client`` and ``ancf.AsyncClient``: a server of ``ancf serve`` asked from Python.

Lists come as ``Recommendations``, with ids of the kind that the training table had and scores of the same bits. Both
clients have the same methods (``client_methods.py``).
"""

from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ancf.errors import MissingExtraError, ServerError
from ancf.scoring.results import Explanation, Recommendations
from ancf.serving.calls import Call, model_call
from ancf.serving.client_methods import ClientMethods

if TYPE_CHECKING:
    import httpx


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtraError("ancf.Client needs httpx. Install it with: pip install 'ancf[client]'") from error
    return httpx


def _read(url: str, response: "httpx.Response") -> Any:
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
    if response.status_code in (200, 202):
        return said
    what = said.get("detail") or f"status {response.status_code}"
    remedy = said.get("remedy") or ""
    text = f"{url}: {what}" + (f" {remedy}" if remedy and remedy not in what else "")
    raise ServerError(text, response.status_code, said.get("place"))


def _unreachable(url: str, error: Exception) -> ServerError:
    return ServerError(f"{url}: {str(error) or type(error).__name__}. Check that the server runs there.")


class Client(ClientMethods[Recommendations, Explanation, NDArray[np.float32], dict[str, Any], int]):
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

    def _ask(self, call: Call) -> Any:
        said = self._send(call)
        if call.has_ids and self._item_kind is None:
            self._item_kind = str(self._send(model_call())["item_id_kind"])
        return call.read(said, self._item_kind or "")

    def _send(self, call: Call) -> Any:
        try:
            response = self._http.request(call.method, call.path, params=call.query, json=call.body)
        except _httpx().HTTPError as error:
            raise _unreachable(self._url, error) from error
        return _read(self._url, response)


class AsyncClient(
    ClientMethods[
        Awaitable[Recommendations],
        Awaitable[Explanation],
        Awaitable[NDArray[np.float32]],
        Awaitable[dict[str, Any]],
        Awaitable[int],
    ]
):
    """The same as ``Client`` for asyncio: what every method gives is awaited.

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

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, call: Call) -> Any:
        said = await self._send(call)
        if call.has_ids and self._item_kind is None:
            self._item_kind = str((await self._send(model_call()))["item_id_kind"])
        return call.read(said, self._item_kind or "")

    async def _send(self, call: Call) -> Any:
        try:
            response = await self._http.request(call.method, call.path, params=call.query, json=call.body)
        except _httpx().HTTPError as error:
            raise _unreachable(self._url, error) from error
        return _read(self._url, response)
