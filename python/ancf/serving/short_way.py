"""The short way of what is asked thousands of times a second: ``GET /v1/recommend/{user_id}``.

A connection hands over a request once its headers are there, and gets the bytes of the answer: no task, no ASGI
messages, no routing, which together take longer than a list. It decides and says the same as the long way, because it
asks the same ``Endpoint``; what it does not know it leaves to that: percent-encoded ids, lists by rules or of another
day, and a journal whose reads may wait for another machine.

A list is made before the next request is looked at. Requests that are read in the same round of the event loop count
as in flight until its end, so that there is a bound on how long the last of them waits.
"""

import time
from typing import Any

from ancf.serving.app import Endpoint
from ancf.serving.routes import OPERATIONS, finished_list, recommend
from ancf.serving.service import Service

_PREFIX = b"/v1/recommend/"
_KNOWN_QUERIES = 1024
_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found"}

_HEAD = (
    b"HTTP/1.1 %d %b\r\n%bcontent-type: %b\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"x-request-id: %b\r\n%b\r\n"
)

Headers = list[tuple[bytes, bytes]]


class ShortWay:
    """Whole answers to whole requests."""

    def __init__(self, service: Service, endpoints: dict[tuple[str, str], Endpoint]) -> None:
        [operation] = [each for each in OPERATIONS if each.handler is recommend]
        self._service, self._endpoint = service, endpoints[operation.method, operation.path]
        self._queries: dict[bytes, Any] = {}
        self._date: Headers = []
        self._date_text = b""

    def answer(self, url: bytes, headers: Headers, default_headers: Headers) -> bytes | None:
        """The bytes of the answer to a GET without a body; None for one that must go the long way."""
        if not url.startswith(_PREFIX) or b"%" in url or self._service.reads_block or not url.isascii():
            return None
        path, _, query = url.partition(b"?")
        user_id = path[len(_PREFIX) :].decode()
        if b"#" in url or not 0 < len(user_id) <= self._service.limits.id_length:
            return None
        started = time.perf_counter()
        endpoint, service = self._endpoint, self._service
        by_name = dict(headers)
        request_id = endpoint.request_ids.of(by_name)
        extra: Headers = []
        try:
            endpoint.authorize(by_name)
            options = self._queries.get(query)
            if options is None:
                options = endpoint.read_query(query)
                if len(self._queries) >= _KNOWN_QUERIES:
                    self._queries.clear()
                self._queries[query] = options
            model = service.model(options.model, user_id)
            if model.rules is not None or options.diversity or options.diversity_by is not None or options.now:
                return None
            items = model.recommend(user_id, service.entries_now(user_id), options)
            status = 200
            content, media_type = endpoint.encode(finished_list(service, user_id, items, model, started))
        except Exception as error:
            status, content, media_type, extra = endpoint.refusal(error, request_id)
        if default_headers is not self._date:
            self._date = default_headers
            self._date_text = b"".join(b"%b: %b\r\n" % each for each in default_headers)
        endpoint.answered(status, time.perf_counter() - started, request_id, by_name)
        more = b"".join(b"%b: %b\r\n" % each for each in extra)
        head = _HEAD % (status, _REASONS.get(status, b""), self._date_text, media_type, len(content), request_id, more)
        return head + content
