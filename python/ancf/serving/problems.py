"""What is wrong with a request, told as RFC 9457 asks: with the value, the place and the remedy."""

import re
from collections.abc import Mapping

from ancf.errors import AncfError, InternalError, UnknownItemError, UnknownUserError
from ancf.serving.journal import JournalError

TITLES = {
    400: "The request cannot be read",
    401: "An API key is needed",
    403: "This API key may not do that",
    404: "There is no such thing",
    405: "This path has other methods",
    408: "The request came too slowly",
    409: "That is not possible now",
    413: "The request is too large",
    415: "The body must be JSON",
    422: "The request asks for what cannot be",
    431: "The headers are too large",
    500: "A defect of the server",
    503: "The server is busy",
}


class Problem(Exception):  # noqa: N818 - the term of RFC 9457
    """A request that is not answered, and why."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        place: str | None = None,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.place, self.remedy = status, detail, place, remedy
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        """The kind of problem in words."""
        return TITLES[self.status]


def busy(detail: str, retry_after: int) -> Problem:
    """Too much at once."""
    return Problem(503, detail, remedy="Ask again a little later.", headers={"Retry-After": str(retry_after)})


def from_error(error: Exception, retry_after: int) -> Problem:
    """What an error of the package is to whoever asked."""
    detail, remedy = _with_remedy(str(error))
    if isinstance(error, JournalError):
        return Problem(503, detail, remedy=remedy, headers={"Retry-After": str(retry_after)})
    if isinstance(error, (UnknownUserError, UnknownItemError)):
        return Problem(404, detail, remedy=remedy)
    if isinstance(error, AncfError) and not isinstance(error, InternalError):
        return Problem(422, detail, remedy=remedy)
    return Problem(500, "The server could not answer.", remedy="Report it with the request id; its log has more.")


def from_validation(message: str, where: str) -> Problem:
    """What msgspec says of a query or a body (``where``), with the place taken apart."""
    found = re.fullmatch(r"(.*?)(?: - at `(?:key in )?\$?\.?(.*?)`)?", message, re.DOTALL)
    text, path = (found[1], found[2]) if found else (message, None)
    place = f"{where} {path}" if path else where
    return Problem(422, f"{place}: {text}.", place=place, remedy="See /docs for what may stand there.")


def _with_remedy(message: str) -> tuple[str, str | None]:
    """A message of the package and its last sentence, which says what to do."""
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z])", message.strip())
    return message, sentences[-1] if len(sentences) > 1 else None
