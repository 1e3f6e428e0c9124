"""What the clients ask of a server, and how they read what it says: requests and answers, without a connection."""

import contextlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError
from ancf.scoring.requests import Id
from ancf.scoring.results import Companion, Explanation, Reason, Recommendations
from ancf.scoring.rules import Rules, check_rules


class Call(NamedTuple):
    """A request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any, str], Any]
    """Of the answer, and the kind of the ids of items."""
    query: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    has_ids: bool = True
    """Whether the answer has ids of items, for which their kind must be known."""


def model_call(name: str | None = None) -> Call:
    """Which model answers."""
    return Call("GET", "/v1/model", as_said, given(model=name), has_ids=False)


def as_said(said: Any, _: str) -> Any:
    """An answer that is read as it is."""
    return said


def reader(subject: Id, columns: tuple[str, str]) -> Callable[[Any, str], Recommendations]:
    """How a list is read; ``subject``: whose, or of what."""

    def read(said: Any, kind: str) -> Recommendations:
        listed = (said["lists"][0] if "lists" in said else said)["items"]
        named = any("name" in each for each in listed)
        sources = [each["source"] for each in listed]
        found = Recommendations(
            subject,
            IdMap([parse(each["item_id"], kind) for each in listed]),
            np.arange(len(listed), dtype=np.int32),
            np.array([each["score"] for each in listed], np.float32),
            None,
            next((each for each in sources if each != "attributes"), "model"),
            np.array([each.get("name") for each in listed], object) if named else None,
            True,
            columns,
        )
        found.unbought = np.array([each == "attributes" for each in sources], bool)
        return found

    return read


def explanation_reader(user: Id, item: Id) -> Callable[[Any, str], Explanation]:
    """How an explanation is read."""

    def read(said: Any, kind: str) -> Explanation:
        return Explanation(
            user,
            item,
            said["score"],
            [Reason(parse(each["item_id"], kind), each["name"], each["adds"]) for each in said["reasons"]],
            said["base"],
            said["name"],
            said["link"],
            [
                Companion(parse(each["item_id"], kind), each["name"], each["share"], each["shared"])
                for each in said["companions"]
            ],
        )

    return read


def text(one: Id) -> str:
    """An id as it is written in a request."""
    if isinstance(one, bool) or not isinstance(one, (str, int, bytes, uuid.UUID, np.integer)):
        raise InvalidDataError(f"{one!r} is no id. Give text, a whole number, bytes or a UUID.")
    if isinstance(one, bytes):
        return one.decode("utf-8", "replace")
    return str(one)


def moment(now: Any) -> str | None:
    """A moment as it is written in a request."""
    if now is None:
        return None
    return str(now.isoformat()) if hasattr(now, "isoformat") else str(now)


def texts(several: Iterable[Id] | None) -> list[str] | None:
    """Ids as they are written in a request."""
    if several is None:
        return None
    if isinstance(several, (str, bytes)):
        return [text(several)]
    return [text(each) for each in several]


def given(**values: Any) -> dict[str, Any]:
    """What is not None."""
    return {name: value for name, value in values.items() if value is not None}


def rules_table(rules: Rules | None) -> dict[str, Any] | None:
    """Rules with ids as text."""
    if rules is None:
        return None
    check_rules(rules)
    table = rules.to_dict()
    if "deny" in table:
        table["deny"] = [text(each) for each in table["deny"]]
    if "pins" in table:
        table["pins"] = {str(place): text(each) for place, each in table["pins"].items()}
    return table


def quoted(one: Id) -> str:
    """An id in a path."""
    from urllib.parse import quote

    return quote(text(one), safe="")


def parse(text: str, kind: str) -> Any:
    """An id of an answer as the training table had it."""
    with contextlib.suppress(ValueError):
        if kind == "int":
            return int(text)
        if kind == "uuid":
            return uuid.UUID(text)
    return text.encode() if kind == "bytes" else text


def as_json(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event with ids as text and its time as RFC 3339 says it."""
    said = dict(event)
    for name in ("user_id", "item_id"):
        if name in said:
            said[name] = text(said[name])
    when = said.get("time")
    if isinstance(when, np.datetime64):
        when = when.astype("datetime64[us]").item()
    if when is not None and hasattr(when, "isoformat"):
        said["time"] = when.isoformat()
    return said
