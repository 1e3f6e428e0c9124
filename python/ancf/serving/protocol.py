"""Connections: what uvicorn leaves to others. Deadlines for slow clients, sizes of headers, a way out of overload.

* Headers must be there ``header_deadline`` after a request began or a connection was made, and fit ``Limits.headers``.
* A client that does not take its answer is let go after ``write_deadline``.
* What ``admission.py`` does not take gets a ready-made 503 once its headers are there, or when its turn to be told has
  come. Its body is read and thrown away, and then the connection is not listened to for nearly as long as the 503 asks
  to wait.
* Requests for ``/health/`` come before others: a server that has much to do is not one to be started anew.
"""

import asyncio
import fcntl
import functools
import json
import random
import termios
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ancf.serving.admission import Client
from ancf.serving.problems import TITLES
from ancf.serving.service import Service
from ancf.serving.short_way import ShortWay

_HEALTH = b"/health/"
_OF_BODIES = frozenset((b"content-length", b"transfer-encoding", b"expect"))
# Which part of the time that it was told to wait a client is not listened to. Spread over time, as all that came
# together would come together again.
_UNHEARD = (0.75, 1.0)


def _ready_made(status: int, reason: str, detail: str, retry_after: int | None = None, *, closes: bool = True) -> bytes:
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
    if closes:
        head += "connection: close\r\n"
    return head.encode() + b"\r\n" + content


class Connection(HttpToolsProtocol):
    """One connection."""

    service: Service
    short_way: ShortWay

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._deaf: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._in_headers = self._refused = self._answered = self._closes = False
        self._client, self._wait = Client(), 0
        self._unfinished_bytes = self._untold = 0
        self._has_body = False
        self._between = True
        """Whether the parser has no part of a request, and would take another."""
        self._answered_at = 0.0

    # ---- deadlines

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_are_there()
        if self._writing is not None:
            self._writing.cancel()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._deaf is not None:
            self._deaf.cancel()
            self._heard()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._tell()
        super().shutdown()

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
        if self._between and self._answer_unparsed(data):
            return
        super().data_received(data)
        if self._in_headers and not self._refused:
            self._await_headers()
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > self.service.limits.headers:
                self._headers_too_large()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._answered, self._unfinished_bytes, self._wait = True, False, 0, 0
        self._between = False

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._headers_are_there()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.service.limits.headers:
            self._headers_too_large()
        elif not (self.cycle is None or self.cycle.response_complete):
            # It takes the place of the one before it, whose answer is still to come.
            super().on_headers_complete()
        elif wait := self._must_wait():
            self._put_off(wait)
        elif not self._answer_at_once():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not (self._refused or self._answered):
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._wait:
            self._listen_later()
        elif not (self._refused or self._answered):
            super().on_message_complete()
        self._between = self.parser.should_keep_alive() and not self.parser.should_upgrade()

    def _headers_too_large(self) -> None:
        limit = self.service.limits.headers
        self._refuse(431, "Request Header Fields Too Large", f"The headers are longer than {limit:,} bytes.")

    # ---- the short way

    def _answer_unparsed(self, data: bytes) -> bool:
        """Answer a whole plain GET that came by itself, without the parser, if nobody else is to be answered or refused
        before it."""
        service, now = self.service, self.loop.time()
        if (
            not (self.cycle is None or self.cycle.response_complete)
            or self._refused
            or self._deaf is not None
            or service.draining
            or self.flow.write_paused
            or self.transport.is_closing()
            or len(data) > service.limits.headers
            or not service.admission.has_place(self._client, now)
        ):
            return False
        answer = self.short_way.answer_to_bytes(data, self.server_state.default_headers)
        if answer is None:
            return False
        service.admission.take(self._client, now)
        self._headers_are_there()
        self._send_at_once(answer)
        return True

    def _send_at_once(self, answer: bytes) -> None:
        self.service.count_now()
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close, unless there was an answer since this was set: a timer of its own for each takes 2 us."""
        rest = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if rest > 0 and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(rest, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

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
            or self.flow.write_paused
            or any(name in _OF_BODIES for name, _ in self.headers)
        ):
            return False
        answer = self.short_way.answer(self.url, self.headers, self.server_state.default_headers)
        if answer is None:
            return False
        self._answered = True
        self._send_at_once(answer)
        return True

    # ---- overload

    def _must_wait(self) -> int:
        """Seconds after which this request shall be sent again; 0 where it is taken."""
        if self._deaf is not None:
            return self._client.told
        if self.url.startswith(_HEALTH):
            self._client.told = 0
            return 0
        return self.service.admission.ask(self._client, self.loop.time())

    def _put_off(self, wait: int) -> None:
        """Refuse a request, whose body is still to come."""
        self._answered, self._wait = True, wait
        self._closes = (
            self.parser.get_http_version() == "1.0"
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
        )
        self.service.metrics.shed()
        self._untold, self._has_body = self._untold + 1, True
        if self._telling is None:
            if self._deaf is None and self._client.pause:
                self._telling = self.loop.call_later(self._client.pause, self._tell)
            else:
                self._tell()
        self._deadline = self.loop.call_later(self.service.limits.body_deadline, self.transport.close)

    def _tell(self) -> None:
        """Say that it was refused, as often as it asked."""
        self._telling = None
        if not self.transport.is_closing():
            self.transport.write(self._untold * _busy(self._client.told, self._closes))
            self._untold = 0
            if self._closes and not self._has_body:
                self.transport.close()

    def _listen_later(self) -> None:
        """Now that a refused request is there to its end."""
        self._headers_are_there()
        self._unset_keepalive_if_required()
        self._has_body = False
        if self._closes or self._deaf is not None:
            if self._closes and self._telling is None:
                self.transport.close()
            elif self._closes:
                self.transport.pause_reading()
            return
        wait = self._client.pause + self._wait * random.uniform(*_UNHEARD)
        self.transport.pause_reading()
        self.service.admission.put_off += 1
        self._deaf = self.loop.call_later(wait, self._listen_again)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive + wait, self.timeout_keep_alive_handler
        )

    def _listen_again(self) -> None:
        self._heard()
        if not self.transport.is_closing():
            socket = self.transport.get_extra_info("socket").fileno()
            self._client.early = fcntl.ioctl(socket, termios.FIONREAD, bytes(4)) != bytes(4)
            self.transport.resume_reading()

    def _heard(self) -> None:
        self._deaf = None
        self.service.admission.put_off -= 1

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        admission = self.service.admission

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            admission.waiting -= 1
            try:
                await app(scope, receive, send)
            except RuntimeError:
                # Of pipelined requests, uvicorn tells only the last that the client has gone.
                if not self.transport.is_closing():
                    raise
                cycle.disconnected = True
            finally:
                admission.in_flight -= 1

        admission.in_flight += 1
        admission.waiting += 1
        super()._start_asgi_task(cycle, counted)


@functools.cache
def _busy(wait: int, closes: bool) -> bytes:
    return _ready_made(503, "Service Unavailable", "Too many requests are in flight.", wait, closes=closes)


def connections_of(service: Service, short_way: ShortWay) -> type[Connection]:
    """The connections of a worker."""
    return type("Connection", (Connection,), {"service": service, "short_way": short_way})
