"""Every route: one line in ``OPERATIONS``, and a function that says what it does."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from ancf import _native
from ancf.serving import schema
from ancf.serving.journal import Event
from ancf.serving.keys import Scope
from ancf.serving.metrics import CONTENT_TYPE
from ancf.serving.model_store import WayBackError
from ancf.serving.problems import Problem, busy
from ancf.serving.service import Service

_AHEAD = timedelta(minutes=5)
"""So much may the clocks of others differ."""


class Raw(NamedTuple):
    """An answer that is no JSON."""

    content: bytes
    media_type: str


Handler = Callable[[Service, str, Any], Awaitable[Any]]


class Operation(NamedTuple):
    """A route, as it is served and documented."""

    method: str
    path: str
    handler: Handler
    summary: str
    scope: Scope | None
    """What a key must allow; None for everybody."""
    question: type[msgspec.Struct] = schema.NoOptions
    """The query, or the body of a POST."""
    answer: type[msgspec.Struct] | None = None
    problems: tuple[int, ...] = ()
    id_in_path: str | None = None


# ---- lists


async def recommend(service: Service, user_id: str, options: schema.ListOptions) -> schema.ItemList:
    """The best items for a user, everything counted that was acknowledged before."""
    started = time.perf_counter()
    model = service.model
    entries = await service.entries(user_id)
    items = model.recommend(user_id, entries, options, service.settings.event_weights)
    return _list(service, user_id, items, model.version, started)


async def recommend_several(service: Service, _: str, body: schema.ListsBody) -> schema.ItemLists:
    """Lists for several users, or for somebody of whom only some items are known."""
    started = time.perf_counter()
    if (body.users is None) == (body.history is None):
        raise Problem(422, "Give users or history, and not both.", place="body", remedy="Leave one of the two out.")
    if body.weights is not None and (body.history is None or len(body.weights) != len(body.history)):
        raise Problem(422, "There must be one weight for each item of history.", place="body weights")
    model, weights = service.model, service.settings.event_weights

    def answer() -> list[schema.ItemList]:
        if body.history is not None:
            items = model.recommend_for_basket(body.history, body.weights, body)
            return [_list(service, None, items, model.version, started)]
        users = body.users or []
        return [
            _list(service, user, model.recommend(user, entries, body, weights), model.version, started)
            for user, entries in zip(users, service.entries_of(users), strict=True)
        ]

    lists = await service.in_thread(answer)
    return schema.ItemLists(lists, model.version, _milliseconds(started))


async def popular(service: Service, _: str, options: schema.PopularOptions) -> schema.ItemList:
    """The most popular items."""
    started = time.perf_counter()
    model = service.model
    return _list(service, None, model.popular(options), model.version, started)


async def similar(service: Service, item_id: str, options: schema.SimilarOptions) -> schema.ItemList:
    """The items most like an item."""
    started = time.perf_counter()
    model = service.model
    return _list(service, None, model.similar(item_id, options), model.version, started)


def _list(
    service: Service, user_id: str | None, items: list[schema.Item], version: str, started: float
) -> schema.ItemList:
    service.metrics.list_from(items[0].source if items else "none")
    return schema.ItemList(user_id, items, version, _milliseconds(started))


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)


# ---- scores


async def explain(service: Service, _: str, options: schema.ExplainOptions) -> schema.ExplanationBody:
    """What each purchase adds to the score of an item."""
    model = service.model
    entries = await service.entries(options.user_id)
    weights = service.settings.event_weights
    return await service.in_thread(lambda: model.explain(options.user_id, options.item_id, entries, weights))


async def score(service: Service, _: str, body: schema.ScoreBody) -> schema.ScoreList:
    """The scores that some items have for a user."""
    model = service.model
    entries = await service.entries(body.user_id)
    return model.score(body.user_id, body.items, entries, service.settings.event_weights)


# ---- events


async def add_events(service: Service, _: str, body: schema.EventsBody) -> schema.Accepted:
    """Keep what users did; answered once it is on the disk. To be sent again, with the same ids, after a failure."""
    now = datetime.now(UTC)
    weights = service.settings.event_weights
    events = []
    for at, each in enumerate(body.events):
        if each.event not in weights:
            raise Problem(
                422,
                f"body events[{at}].event: {each.event!r} is no type of event here.",
                place=f"body events[{at}].event",
                remedy=f"There are {', '.join(weights)}.",
            )
        when = now if each.time is None else each.time
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        if when - now > _AHEAD:
            raise Problem(
                422,
                f"body events[{at}].time: {when.isoformat()} has not come yet.",
                place=f"body events[{at}].time",
                remedy="Give a time that has passed, or leave it out.",
            )
        events.append(
            Event(each.event_id, each.user_id, each.item_id, each.event, each.quantity, int(when.timestamp()))
        )
    new = await service.append(events)
    service.metrics.events(new, len(events) - new)
    unknown = service.model.unknown_items([each.item_id for each in events])
    return schema.Accepted(new, len(events) - new, unknown)


async def forget_user(service: Service, user_id: str, _: Any) -> schema.Forgotten:
    """Erase all events of a user. What the model has learned of them is not used for their lists any more."""
    return schema.Forgotten(user_id, await service.forget(user_id))


# ---- the server


async def about_model(service: Service, _: str, __: Any) -> schema.ModelBody:
    """Which model answers, and what it knows."""
    served = service.model
    scorer = served.scorer
    until = None if scorer.purchases is None else scorer.purchases.until
    return schema.ModelBody(
        model_version=served.version,
        model=scorer.model,
        users=len(scorer.user_ids),
        items=len(scorer.item_ids),
        user_id_kind=scorer.user_ids.kind,
        item_id_kind=scorer.item_ids.kind,
        categories=served.categories,
        learned_until=None if until is None else datetime.fromtimestamp(until, UTC),
        loaded_at=datetime.fromtimestamp(served.loaded_at, UTC),
        previous_version=service.store.previous,
        failed=service.store.failed,
        event_weights=dict(service.settings.event_weights),
        ancf_version=_native.__version__,
    )


async def reload(service: Service, _: str, body: schema.ReloadBody) -> schema.Reloaded:
    """Take the model file as it is now, or go back to the model before."""
    try:
        changed = await service.reload(body.to)
    except WayBackError as error:
        raise Problem(409, str(error), place="body to") from error
    return schema.Reloaded(service.model.version, service.store.previous, changed)


async def live(service: Service, _: str, __: Any) -> schema.Health:
    """Whether the process works; restart it if not."""
    return schema.Health("ok")


async def ready(service: Service, _: str, __: Any) -> schema.Health:
    """Whether requests should be sent here: there is a model, and the journal can be read."""
    if service.draining:
        raise busy("The server is about to end.", service.limits.retry_after)
    await service.entries("")
    return schema.Health("ok")


async def metrics(service: Service, _: str, __: Any) -> Raw:
    """Numbers for Prometheus."""
    return Raw(service.metrics.text(), CONTENT_TYPE)


OPERATIONS = (
    Operation(
        *("GET", "/v1/recommend/{user_id}", recommend, "A list for a user", "read"),
        *(schema.ListOptions, schema.ItemList, (404, 422), "user_id"),
    ),
    Operation(
        *("POST", "/v1/recommend", recommend_several, "Lists for several users, or for a basket", "read"),
        *(schema.ListsBody, schema.ItemLists, (404, 422)),
    ),
    Operation(
        *("GET", "/v1/similar/{item_id}", similar, "Items like an item", "read"),
        *(schema.SimilarOptions, schema.ItemList, (404, 422), "item_id"),
    ),
    Operation(
        *("GET", "/v1/popular", popular, "The most popular items", "read"),
        *(schema.PopularOptions, schema.ItemList, (422,)),
    ),
    Operation(
        *("GET", "/v1/explain", explain, "What a score is made of", "read"),
        *(schema.ExplainOptions, schema.ExplanationBody, (404, 422)),
    ),
    Operation(
        *("POST", "/v1/score", score, "The scores of some items", "read"),
        *(schema.ScoreBody, schema.ScoreList, (404, 422)),
    ),
    Operation(
        *("POST", "/v1/events", add_events, "Keep what users did", "events"),
        *(schema.EventsBody, schema.Accepted, (422,)),
    ),
    Operation(
        *("DELETE", "/v1/users/{user_id}", forget_user, "Forget a user", "admin"),
        *(schema.NoOptions, schema.Forgotten, (422,), "user_id"),
    ),
    Operation("GET", "/v1/model", about_model, "The model that answers", "read", answer=schema.ModelBody),
    Operation(
        *("POST", "/v1/reload", reload, "Take another model", "admin"),
        *(schema.ReloadBody, schema.Reloaded, (409, 422)),
    ),
    Operation("GET", "/health/live", live, "Whether the process works", None, answer=schema.Health),
    Operation("GET", "/health/ready", ready, "Whether to send requests", None, answer=schema.Health),
    Operation("GET", "/metrics", metrics, "Numbers for Prometheus", "read"),
)
