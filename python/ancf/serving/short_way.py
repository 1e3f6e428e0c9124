"""The short way of what is asked thousands of times a second: ``GET /v1/recommend/{user_id}``.

A connection hands over a request once its headers are there, and gets the bytes of the answer: no task, no ASGI
messages, no routing, which together take longer than a list. It decides and says the same as the long way, because it
asks the same ``Endpoint``; what it does not know it leaves to that: percent-encoded ids, lists by rules or of another
day, and a journal whose reads may wait for another machine. A list without filters is made of the rows of the journal
by one call of the core (``list_maker.py``), and by ``ServedModel`` where that says that it is not enough.

A list is made before the next request is looked at. Requests that are read in the same round of the event loop count
as in flight until its end, so that there is a bound on how long the last of them waits.
"""

import time
from typing import NamedTuple

from ancf import _native
from ancf.serving.app import Endpoint
from ancf.serving.routes import OPERATIONS, finished_list, milliseconds_since, recommend
from ancf.serving.schema import ListOptions
from ancf.serving.service import Service

_PREFIX = "/v1/recommend/"
_PREFIX_BYTES = _PREFIX.encode()
_KNOWN_QUERIES = 1024
_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found"}

_HEAD = (
    b"HTTP/1.1 %d %b\r\n%bcontent-type: %b\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"x-request-id: %b\r\n%b\r\n%b"
)

Headers = list[tuple[bytes, bytes]]


class _Question(NamedTuple):
    """What a query asks."""

    options: ListOptions
    is_plain: bool
    """Whether nothing but the user decides what is in the list."""
    is_short: bool
    """Whether it may be answered here."""


class ShortWay:
    """Whole answers to whole requests."""

    def __init__(self, service: Service, endpoints: dict[tuple[str, str], Endpoint]) -> None:
        [operation] = [each for each in OPERATIONS if each.handler is recommend]
        self._service, self._endpoint = service, endpoints[operation.method, operation.path]
        self._questions: dict[bytes, _Question] = {}
        self._date: Headers = []
        self._date_text = b""

    def answer_to_bytes(self, data: bytes, default_headers: Headers) -> bytes | None:
        """The answer to what came over a connection; None where a general parser must look at it."""
        request = _native.read_get(data, _PREFIX)
        return None if request is None else self._answer(*request, default_headers)

    def answer(self, url: bytes, headers: Headers, default_headers: Headers) -> bytes | None:
        """The bytes of the answer to a GET without a body; None for one that must go the long way."""
        if not url.startswith(_PREFIX_BYTES) or b"%" in url or b"#" in url or not url.isascii():
            return None
        path, _, query = url.partition(b"?")
        return self._answer(path[len(_PREFIX) :].decode(), query, dict(headers), default_headers)

    def _answer(
        self, user_id: str, query: bytes, headers: dict[bytes, bytes], default_headers: Headers
    ) -> bytes | None:
        service, endpoint = self._service, self._endpoint
        if not 0 < len(user_id) <= service.limits.id_length or service.reads_block:
            return None
        started = time.perf_counter()
        request_id = endpoint.request_ids.of(headers)
        more, status = b"", 200
        try:
            endpoint.authorize(headers)
            question = self._questions.get(query)
            if question is None:
                question = self._read(query)
            made = self._made(user_id, question, started)
            if made is None:
                return None
            content, media_type = made
        except Exception as error:
            status, content, media_type, extra = endpoint.refusal(error, request_id)
            more = b"".join(b"%b: %b\r\n" % each for each in extra)
        if default_headers is not self._date:
            self._date = default_headers
            self._date_text = b"".join(b"%b: %b\r\n" % each for each in default_headers)
        endpoint.answered(status, time.perf_counter() - started, request_id, headers)
        reason = _REASONS.get(status, b"")
        return _HEAD % (status, reason, self._date_text, media_type, len(content), request_id, more, content)

    def _read(self, query: bytes) -> _Question:
        options = self._endpoint.read_query(query)
        filters = (options.category, options.items, options.exclude)
        is_short = not (options.diversity or options.diversity_by is not None or options.now)
        is_plain = is_short and not options.explain and all(each is None for each in filters)
        if len(self._questions) >= _KNOWN_QUERIES:
            self._questions.clear()
        question = self._questions[query] = _Question(options, is_plain, is_short)
        return question

    def _made(self, user_id: str, question: _Question, started: float) -> tuple[bytes, bytes] | None:
        """A list as it is sent, and its media type; None for one that must go the long way."""
        service, (options, is_plain, is_short) = self._service, question
        model = service.model(options.model, user_id)
        if model.rules is not None or not is_short:
            return None
        rows = service.rows_now(user_id)
        if is_plain and model.list_maker is not None and len(rows) < service.limits.events_per_user:
            made = model.list_maker.make(user_id, rows, options.n, options.exclude_seen)
            if made is not None:
                is_history, content = made
                service.metrics.list_from("history" if is_history else "model", model.variant)
                return b"%b%a}" % (content, milliseconds_since(started)), b"application/json"
        items = model.recommend(user_id, service.in_order(user_id, rows), options)
        return self._endpoint.encode(finished_list(service, user_id, items, model, started))
