"""The ASGI application: Starlette finds the route, ``Endpoint`` does what all routes have in common.

An endpoint checks the key, decodes and checks the question, asks, encodes the answer, and turns whatever goes wrong
into a problem. It speaks ASGI itself: building Starlette's Request and Response takes a third of the time of a list.
"""

import asyncio
import itertools
import json
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ancf.errors import AncfError
from ancf.serving import log, openapi
from ancf.serving.playground import page
from ancf.serving.problems import Problem, from_error, from_validation
from ancf.serving.routes import OPERATIONS, Operation, Raw
from ancf.serving.schema import Id, NoOptions
from ancf.serving.service import Service

_REQUEST_ID = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)
_ENCODER = msgspec.json.Encoder()
_JSON = b"application/json"
Encoded = tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]
"""Status, content, media type and more headers of an answer."""


class RequestIds:
    """A name for each request: the client's, or one of our own."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._counter = itertools.count(1)

    def of(self, headers: dict[bytes, bytes]) -> bytes:
        """The name of a request with these headers."""
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"{self._prefix}-{next(self._counter):x}".encode()


class Endpoint:
    """One route."""

    def __init__(self, service: Service, operation: Operation, request_ids: RequestIds) -> None:
        self._service, self._operation, self.request_ids = service, operation, request_ids
        self._with_body = operation.method == "POST"
        self._decoder = msgspec.json.Decoder(operation.question)
        self._lists = _list_fields(operation.question)
        self._route = f"{operation.method} {operation.path}"
        # A question without a query is the same each time.
        needs = operation.question.__struct_config__ and msgspec.structs.fields(operation.question)
        self._default = None if any(each.required for each in needs or ()) else operation.question()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self.request_ids.of(headers)
        extra: list[tuple[bytes, bytes]] = []
        try:
            self.authorize(headers)
            if self._with_body:
                question = await self._read_body(headers, receive)
            else:
                question = self.read_query(scope["query_string"])
            subject = scope["path_params"][self._operation.id_in_path] if self._operation.id_in_path else ""
            if self._operation.id_in_path:
                _check_id(subject, self._operation.id_in_path)
            answer = await self._operation.handler(self._service, subject, question)
            status = self._operation.status
            content, media_type = self.encode(answer)
        except _DisconnectedError:
            return
        except Exception as error:
            status, content, media_type, extra = self.refusal(error, request_id)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", media_type),
                    (b"content-length", b"%d" % len(content)),
                    (b"cache-control", b"no-store"),
                    (b"x-request-id", request_id),
                    *extra,
                ],
            }
        )
        await send({"type": "http.response.body", "body": content})
        self.answered(status, time.perf_counter() - started, request_id, headers)

    def encode(self, answer: Any) -> tuple[bytes, bytes]:
        """The content of an answer, and its media type."""
        if type(answer) is Raw:
            return answer.content, answer.media_type.encode()
        return _ENCODER.encode(answer), _JSON

    def refusal(self, error: Exception, request_id: bytes) -> Encoded:
        """What went wrong, as it is sent."""
        return _encoded(error if isinstance(error, Problem) else self._problem(error, request_id), request_id)

    def answered(self, status: int, seconds: float, request_id: bytes, headers: dict[bytes, bytes]) -> None:
        """Count a request that was answered, and trace and log it where that is wanted."""
        self._service.metrics.request(self._route, status, seconds)
        if self._service.record is not None:
            self._service.record(self._route, status, seconds, headers)
        if self._service.settings.access_log:
            milliseconds = round(seconds * 1000, 3)
            log.write("request", route=self._route, status=status, ms=milliseconds, request_id=request_id.decode())

    def _problem(self, error: Exception, request_id: bytes) -> Problem:
        problem = from_error(error, self._service.limits.retry_after)
        if problem.status == 500:
            log.write_defect(error, route=self._route, request_id=request_id.decode())
        elif not isinstance(error, AncfError):
            raise error
        return problem

    def authorize(self, headers: dict[bytes, bytes]) -> None:
        """Look whether these headers may ask.

        Raises
        ------
        Problem
            401 without a known key, 403 with one that is not enough.
        """
        keys, needed = self._service.keys, self._operation.scope
        if keys is None or needed is None:
            return
        given = headers.get(b"authorization", b"").decode("latin-1")
        kind, _, key = given.partition(" ")
        scopes = keys.scopes(key.strip()) if kind.lower() == "bearer" else None
        if scopes is None:
            raise Problem(
                401,
                "There is no API key in the request, or one that is not known.",
                place="header Authorization",
                remedy="Send 'Authorization: Bearer KEY'.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if needed not in scopes:
            raise Problem(
                403,
                f"This key has the scopes {', '.join(sorted(scopes))}; {needed} is needed.",
                place="header Authorization",
                remedy="Ask whoever runs the server for another key.",
            )

    def read_query(self, query: bytes) -> Any:
        """The question in a query.

        Raises
        ------
        Problem
            If it is none.
        """
        if not query and self._default is not None:
            return self._default
        values: dict[str, Any] = {}
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise Problem(400, "The query is not UTF-8 in percent-encoding.", place="query") from None
        for name, value in pairs:
            if name in self._lists:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise Problem(422, f"query {name}: it is there twice.", place=f"query {name}", remedy="Give it once.")
            else:
                values[name] = value
        try:
            return msgspec.convert(values, self._operation.question, strict=False)
        except msgspec.ValidationError as error:
            raise from_validation(str(error), "query") from None

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> Any:
        limits = self._service.limits
        close = {"Connection": "close"}
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != _JSON:
            raise Problem(
                415,
                f"The body is {media_type.decode('latin-1') or 'of no kind that is named'}; it must be JSON.",
                place="header Content-Type",
                remedy="Send 'Content-Type: application/json'.",
                headers=close,
            )
        content = b""
        try:
            async with asyncio.timeout(limits.body_deadline):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _DisconnectedError
                    content += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(content) > limits.body:
                        raise Problem(
                            413,
                            f"The body is longer than {limits.body:,} bytes.",
                            place="body",
                            remedy="Send it in parts.",
                            headers=close,
                        )
        except TimeoutError:
            raise Problem(
                408, f"The body was not there after {limits.body_deadline:g} seconds.", place="body", headers=close
            ) from None
        try:
            return self._decoder.decode(content)
        except msgspec.ValidationError as error:
            raise from_validation(str(error), "body") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"The body is no JSON: {error}.", place="body", remedy="Send JSON in UTF-8.") from None


class _DisconnectedError(Exception):
    """Whoever asked has gone."""


def endpoints_of(service: Service) -> dict[tuple[str, str], Endpoint]:
    """The routes of a service, by method and path."""
    request_ids = RequestIds()
    return {(each.method, each.path): Endpoint(service, each, request_ids) for each in OPERATIONS}


class Dispatcher:
    """Finds the endpoint by the path; what is none, and what HTTP has beside requests, goes to Starlette."""

    def __init__(self, endpoints: dict[tuple[str, str], Endpoint], rest: ASGIApp) -> None:
        self._rest = rest
        self._whole = {key: each for key, each in endpoints.items() if "{" not in key[1]}
        self._by_prefix: list[tuple[str, str, str, Endpoint]] = []
        for (method, path), each in endpoints.items():
            prefix, _, name = path.rstrip("}").partition("{")
            if name:
                self._by_prefix.append((method, prefix, name, each))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            endpoint = self._whole.get((method, path))
            if endpoint is None:
                for of, prefix, name, each in self._by_prefix:
                    if method == of and path.startswith(prefix):
                        scope["path_params"] = {name: path[len(prefix) :]}
                        endpoint = each
                        break
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._rest(scope, receive, send)


def make_app(service: Service, endpoints: dict[tuple[str, str], Endpoint]) -> Dispatcher:
    """The application around a service, which it starts and stops."""
    request_ids = next(iter(endpoints.values())).request_ids
    described = openapi.document()
    files = {
        "/openapi.json": Raw(json.dumps(described).encode(), "application/json"),
        "/docs": Raw(openapi.page(described), "text/html; charset=utf-8"),
    }
    playground, policy = page()
    shop = Raw(playground, "text/html; charset=utf-8")
    shop_headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    async def no_such_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = {"Allow": error.headers["Allow"]} if error.headers and "Allow" in error.headers else {}
        status = error.status_code if error.status_code in (404, 405) else 400
        what = f"{request.method} {request.url.path}"
        problem = Problem(status, f"{what}: there is no such route.", remedy="See /docs.", headers=headers)
        request_id = request_ids.of(dict(request.scope["headers"]))
        status, content, media_type, extra = _encoded(problem, request_id)
        service.metrics.request("none", status, 0.0)
        named = {name.decode(): value.decode() for name, value in extra}
        return Response(content, status, {**named, "x-request-id": request_id.decode()}, media_type.decode())

    routes = [
        Route(
            path.replace("_id}", "_id:path}"),
            each,
            methods=[method],
        )
        for (method, path), each in endpoints.items()
    ]
    routes += [Route(path, partial(_file, answer=raw), methods=["GET"]) for path, raw in files.items()]
    routes.append(Route("/", partial(_file, answer=shop, headers=shop_headers), methods=["GET"]))
    starlette = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: no_such_route})
    return Dispatcher(endpoints, starlette)


async def _file(_: Request, *, answer: Raw, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.content, headers=headers, media_type=answer.media_type)


def _encoded(problem: Problem, request_id: bytes) -> Encoded:
    body = {
        "type": f"/docs#problem-{problem.status}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "place": problem.place,
        "remedy": problem.remedy,
        "request_id": request_id.decode(),
    }
    extra = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, _ENCODER.encode(body), openapi.PROBLEM_TYPE.encode(), extra


def _list_fields(question: type[msgspec.Struct]) -> frozenset[str]:
    """The fields that a query may name several times."""
    if question is NoOptions:
        return frozenset()
    hints = get_type_hints(question)
    return frozenset(
        name for name, hint in hints.items() if any(get_origin(each) is list for each in (hint, *get_args(hint)))
    )


def _check_id(subject: str, name: str | None) -> None:
    try:
        msgspec.convert(subject, Id)
    except msgspec.ValidationError as error:
        raise from_validation(str(error), f"path {name}") from None
