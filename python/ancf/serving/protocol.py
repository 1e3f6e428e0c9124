"""Connections: what uvicorn leaves to others. Deadlines for slow clients, sizes of headers, a way out of overload.

* Headers must be there ``header_deadline`` after a request began or a connection was made, and fit ``Limits.headers``.
* A client that does not take its answer is let go after ``write_deadline``.
* Beyond ``in_flight`` requests, a new one is answered with a ready-made 503 before it is parsed: that takes a few
  microseconds, so that nearly all of the time goes into requests that are answered. Only a whole request without a body
  is answered so, as that needs no parsing to find its end; others get their 503 once their headers are parsed.
* Who was refused is not listened to for about the seconds that the 503 asks to wait, so that those who ask again at
  once cannot take all of the time. What they send meanwhile waits, and is answered then.
"""

import asyncio
import json
import random
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ancf.serving.problems import TITLES
from ancf.serving.service import Service
from ancf.serving.short_way import ShortWay

_END = b"\r\n\r\n"
_WITHOUT_BODY = (b"GET ", b"HEAD ")
_OF_BODIES = frozenset((b"content-length", b"transfer-encoding", b"expect"))
_HAS_BODY = re.compile(rb"\r\n(content-length|transfer-encoding):", re.IGNORECASE)


def _ready_made(status: int, reason: str, detail: str, retry_after: int | None = None) -> bytes:
    body = {
        "type": f"/docs#problem-{status}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "place": None,
        "remedy": "Ask again a little later." if retry_after else None,
        "request_id": "",
    }
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(content)}\r\n"
    if retry_after is not None:
        head += f"retry-after: {retry_after}\r\n"
    else:
        head += "connection: close\r\n"
    return head.encode() + b"\r\n" + content


class Connection(HttpToolsProtocol):
    """One connection."""

    service: Service
    short_way: ShortWay
    ready_made_busy: bytes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._deaf: asyncio.TimerHandle | None = None
        self._in_headers = self._refused = self._answered = False
        self._unfinished_bytes = 0

    # ---- deadlines

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_are_there()
        if self._writing is not None:
            self._writing.cancel()
        if self._deaf is not None:
            self._deaf.cancel()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.service.limits.header_deadline, self._headers_too_slow)

    def _headers_are_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _headers_too_slow(self) -> None:
        self._refuse(408, "Request Timeout", "The headers were not there in time.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.service.limits.write_deadline, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _refuse(self, status: int, reason: str, detail: str) -> None:
        self._refused = True
        if not self.transport.is_closing():
            self.transport.write(_ready_made(status, reason, detail))
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", "This is no request of HTTP/1.1.")

    # ---- sizes

    def data_received(self, data: bytes) -> None:
        if self.service.in_flight >= self.service.limits.in_flight and self._can_shed(data):
            self._shed()
            return
        super().data_received(data)
        if self._in_headers and not self._refused:
            self._await_headers()
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > self.service.limits.headers:
                self._headers_too_large()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._answered, self._unfinished_bytes = True, False, 0

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._headers_are_there()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.service.limits.headers:
            self._headers_too_large()
        elif not self._answer_at_once():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not (self._refused or self._answered):
            super().on_message_complete()

    def _headers_too_large(self) -> None:
        limit = self.service.limits.headers
        self._refuse(431, "Request Header Fields Too Large", f"The headers are longer than {limit:,} bytes.")

    # ---- the short way

    def _answer_at_once(self) -> bool:
        """Answer a plain GET without a task of its own, if there is such a way and no other answer is still to come."""
        parser, service = self.parser, self.service
        if (
            parser.get_method() != b"GET"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or parser.should_upgrade()
            or service.draining
            or self.transport.is_closing()
            or service.in_flight >= service.limits.in_flight
            or not (self.cycle is None or self.cycle.response_complete)
            or self.flow.write_paused
            or any(name in _OF_BODIES for name, _ in self.headers)
        ):
            return False
        answer = self.short_way.answer(self.url, self.headers, self.server_state.default_headers)
        if answer is None:
            return False
        service.count_now()
        self._answered = True
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        return True

    # ---- overload

    def _can_shed(self, data: bytes) -> bool:
        return (
            not self._in_headers
            and (self.cycle is None or self.cycle.response_complete)
            and data.startswith(_WITHOUT_BODY)
            and data.endswith(_END)
            and data.count(_END) == 1
            and _HAS_BODY.search(data) is None
        )

    def _shed(self) -> None:
        self._headers_are_there()
        self._unset_keepalive_if_required()
        self.service.metrics.shed()
        self.transport.write(self.ready_made_busy)
        # Spread over time, as all that came together would come together again.
        wait = self.service.limits.retry_after * random.uniform(0.5, 1.5)
        self.transport.pause_reading()
        self._deaf = self.loop.call_later(wait, self._listen_again)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive + wait, self.timeout_keep_alive_handler
        )

    def _listen_again(self) -> None:
        self._deaf = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        service = self.service
        if service.in_flight >= service.limits.in_flight:
            service.metrics.shed()
            super()._start_asgi_task(cycle, self._answer_busy)
            return

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except RuntimeError:
                # Of pipelined requests, uvicorn tells only the last that the client has gone.
                if not self.transport.is_closing():
                    raise
                cycle.disconnected = True
            finally:
                service.in_flight -= 1

        service.in_flight += 1
        super()._start_asgi_task(cycle, counted)

    async def _answer_busy(self, scope: Any, receive: Any, send: Any) -> None:
        head, _, content = self.ready_made_busy.partition(_END)
        fields = [line.partition(b": ")[::2] for line in head.split(b"\r\n")[1:]]
        await send({"type": "http.response.start", "status": 503, "headers": fields})
        await send({"type": "http.response.body", "body": content})


def connections_of(service: Service, short_way: ShortWay) -> type[Connection]:
    """The connections of a worker."""
    busy = _ready_made(503, "Service Unavailable", "Too many requests are in flight.", service.limits.retry_after)
    return type("Connection", (Connection,), {"service": service, "short_way": short_way, "ready_made_busy": busy})
