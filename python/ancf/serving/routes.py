"""Every route: one line in ``OPERATIONS``, and a function that says what it does."""

import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from ancf import _native
from ancf.serving import catalog, schema
from ancf.serving.counting import PURCHASE, mark_of
from ancf.serving.journal import Entry, Event
from ancf.serving.keys import Scope
from ancf.serving.metrics import CONTENT_TYPE
from ancf.serving.model_store import WayBackError
from ancf.serving.problems import Problem, busy
from ancf.serving.served_model import ServedModel
from ancf.serving.service import Service
from ancf.serving.update_job import Outcome
from ancf.serving.updater import UpdateRefusedError

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
    status: int = 200


# ---- lists


async def recommend(service: Service, user_id: str, options: schema.ListOptions) -> schema.ItemList:
    """The best items for a user, everything counted that was acknowledged before."""
    started = time.perf_counter()
    model = service.model(options.model, user_id)
    entries = await service.entries(user_id)
    if model.rules_of(options) is None and options.now is None:
        items = model.recommend(user_id, entries, options)
    else:
        items = await service.in_thread(lambda: model.recommend(user_id, entries, options))
    return finished_list(service, user_id, items, model, started)


async def recommend_several(service: Service, _: str, body: schema.ListsBody) -> schema.ItemLists:
    """Lists for several users, or for somebody of whom only some items are known."""
    started = time.perf_counter()
    if body.users is None and body.history is None:
        raise Problem(422, "There are no users and no history.", place="body", remedy="Give one of the two.")
    if body.history is not None and body.users is not None and len(body.users) != 1:
        raise Problem(
            422,
            f"A history beside users counts for one of them, and there are {len(body.users)}.",
            place="body users",
            remedy="Give one user, or leave one of the two out.",
        )
    if body.weights is not None and (body.history is None or len(body.weights) != len(body.history)):
        raise Problem(422, "There must be one weight for each item of history.", place="body weights")
    model = service.model(body.model)
    users = body.users or []
    models = [service.model(body.model, user) for user in users]
    if users and body.history is not None:
        models[0].check_items(body.history, body.on_unknown)

    def answer() -> list[schema.ItemList]:
        if body.users is None:
            items = model.recommend_for_basket(body.history or [], body.weights, body)
            return [finished_list(service, None, items, model, started)]
        lists = []
        for user, each, entries in zip(users, models, service.entries_of(users), strict=True):
            view = each.as_of(body.now)
            past = view.scorer.past
            basket = _basket(body.history, body.weights, None if past is None else past.now)
            items = view.recommend(user, [*entries, *basket], body)
            lists.append(finished_list(service, user, items, each, started))
        return lists

    lists = await service.in_thread(answer)
    return schema.ItemLists(lists, model.version, milliseconds_since(started))


def _basket(items: list[str] | None, weights: list[float] | None = None, at: int | None = None) -> list[Entry]:
    """What is in a basket, as if it were bought at that moment; None: now."""
    now = int(time.time()) if at is None else at
    quantities = weights or itertools.repeat(1.0)
    return [Entry(each, PURCHASE, quantity, now) for each, quantity in zip(items or (), quantities, strict=False)]


async def buy_again(service: Service, user_id: str, options: schema.AgainOptions) -> schema.ItemList:
    """What a user is due to buy again, of what they bought before, everything counted that was acknowledged before."""
    started = time.perf_counter()
    model = service.model(options.model, user_id)
    entries = await service.entries(user_id)
    items = await service.in_thread(lambda: model.buy_again(user_id, entries, options))
    return finished_list(service, user_id, items, model, started)


async def bought_together(service: Service, _: str, options: schema.TogetherOptions) -> schema.ItemList:
    """What was bought together with the items of a basket; counted from the purchases, whatever the model."""
    started = time.perf_counter()
    model = service.model(options.model)
    items = await service.in_thread(lambda: model.bought_together(options))
    return finished_list(service, None, items, model, started)


async def popular(service: Service, _: str, options: schema.PopularOptions) -> schema.ItemList:
    """The most popular items."""
    started = time.perf_counter()
    model = service.model(options.model)
    return finished_list(service, None, model.popular(options), model, started)


async def similar(service: Service, item_id: str, options: schema.SimilarOptions) -> schema.ItemList:
    """The items most like an item."""
    started = time.perf_counter()
    model = service.model(options.model)
    return finished_list(service, None, model.similar(item_id, options), model, started)


def finished_list(
    service: Service, user_id: str | None, items: list[schema.Item], model: ServedModel, started: float
) -> schema.ItemList:
    """Items as an answer, counted."""
    service.metrics.list_from(items[0].source if items else "none", model.variant)
    return schema.ItemList(user_id, items, model.variant, model.version, milliseconds_since(started))


def milliseconds_since(started: float) -> float:
    """How long it took from a moment of ``time.perf_counter``."""
    return round((time.perf_counter() - started) * 1000, 3)


# ---- scores


async def explain(service: Service, _: str, options: schema.ExplainOptions) -> schema.ExplanationBody:
    """What each purchase adds to the score of an item."""
    model = service.model(options.model, options.user_id)
    entries = await service.entries(options.user_id)
    return await service.in_thread(lambda: model.explain(options.user_id, options.item_id, entries, options.now))


async def score(service: Service, _: str, body: schema.ScoreBody) -> schema.ScoreList:
    """The scores that some items have for a user."""
    model = service.model(body.model, body.user_id)
    entries = await service.entries(body.user_id)
    if body.now is None:
        return model.score(body.user_id, body.items, entries)
    return await service.in_thread(lambda: model.score(body.user_id, body.items, entries, body.now))


# ---- what a model knows


async def list_items(service: Service, _: str, options: schema.ItemsOptions) -> schema.Catalog:
    """The items that the model knows, those first that most users had."""
    served = service.model()
    return await service.in_thread(lambda: catalog.items(served, options))


async def list_users(service: Service, _: str, options: schema.CatalogOptions) -> schema.KnownUsers:
    """The users of the training table."""
    served = service.model()
    return await service.in_thread(lambda: catalog.users(served, options))


async def history(service: Service, _: str, body: schema.HistoryBody) -> schema.HistoryList:
    """What somebody has had as the model counts it, and how much of its attention each of that gets."""
    if body.user_id is None and body.history is None:
        raise Problem(422, "There is no user and no history.", place="body", remedy="Give one of the two, or both.")
    served = service.model(body.model, body.user_id)
    served.check_items(body.history or [], "raise")
    entries = [] if body.user_id is None else await service.entries(body.user_id)
    basket = _basket(body.history)
    return await service.in_thread(lambda: catalog.history(served, body.user_id, basket, entries))


# ---- events


async def add_events(service: Service, _: str, body: schema.EventsBody) -> schema.Accepted:
    """Keep what users did; answered once it is on the disk. To be sent again, with the same ids, after a failure."""
    now = datetime.now(UTC)
    events = []
    for at, each in enumerate(body.events):
        if not service.knows_event(each.event):
            raise Problem(
                422,
                f"body events[{at}].event: {each.event!r} is no type of event here.",
                place=f"body events[{at}].event",
                remedy=f"There are {', '.join(service.event_types())}.",
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
    unknown = service.model().unknown_items([each.item_id for each in events])
    return schema.Accepted(new, len(events) - new, unknown)


async def forget_user(service: Service, user_id: str, _: Any) -> schema.Forgotten:
    """Erase all events of a user. What the model has learned of them is not used for their lists any more."""
    return schema.Forgotten(user_id, await service.forget(user_id))


# ---- the server


async def about_model(service: Service, _: str, options: schema.ModelOptions) -> schema.ModelBody:
    """Which model answers, and what it knows."""
    store = service.store(options.model)
    served = store.current
    scorer = served.scorer
    until = None if scorer.purchases is None else scorer.purchases.until
    newest, update = await service.newest_event(), await service.last_update(store)
    split = service.settings.split
    variants = [
        schema.VariantBody(
            name,
            each.current.scorer.model,
            each.current.version,
            split.get(name, 0.0) if at else 1.0 - sum(split.values()),
        )
        for at, (name, each) in enumerate(service.stores.items())
    ]
    return schema.ModelBody(
        variant=served.variant,
        variants=variants,
        model_version=served.version,
        model=scorer.model,
        users=len(scorer.user_ids),
        items=len(scorer.item_ids),
        user_id_kind=scorer.user_ids.kind,
        item_id_kind=scorer.item_ids.kind,
        categories=served.texts.all_categories,
        learned_until=None if until is None else datetime.fromtimestamp(until, UTC),
        learned_event=served.counting.seq,
        journal_mark=None if newest is None else mark_of(service.journal_name, newest),
        update=None if update is None else _as_body(update),
        loaded_at=datetime.fromtimestamp(served.loaded_at, UTC),
        previous_version=store.previous,
        failed=store.failed,
        event_weights=served.counting.weights.to_dict(),
        rules=None if served.shop.rules is None else served.shop.rules.to_dict(),
        in_stock=None if served.scorer.stock is None else int(served.scorer.stock.sum()),
        unknown_ids=served.unknown,
        warnings=served.warnings,
        ancf_version=_native.__version__,
    )


async def reload(service: Service, _: str, body: schema.ReloadBody) -> schema.Reloaded:
    """Take the model file as it is now, or go back to the model before."""
    try:
        changed = await service.reload(body.to, body.model)
    except WayBackError as error:
        raise Problem(409, str(error), place="body to") from error
    store = service.store(body.model)
    return schema.Reloaded(store.current.version, store.previous, changed)


async def update(service: Service, _: str, body: schema.UpdateOptions) -> schema.UpdateBody:
    """Begin to take what the journal has beyond the model into the model file, beside serving (docs/updating.md)."""
    try:
        return _as_body(await service.update(body.model))
    except (UpdateRefusedError, OSError) as error:
        raise Problem(409, str(error), remedy="See update in GET /v1/model.") from error


def _as_body(outcome: Outcome) -> schema.UpdateBody:
    finished = None if outcome.finished is None else datetime.fromtimestamp(outcome.finished, UTC)
    started = datetime.fromtimestamp(outcome.started, UTC)
    return schema.UpdateBody(
        outcome.state,
        started,
        finished,
        outcome.events,
        outcome.model_version,
        outcome.error,
        outcome.warning,
    )


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
    marked = [(name, store.current.counting.seq) for name, store in service.stores.items()]
    if any(seq is not None for _, seq in marked):
        newest = await service.newest_event()
        for name, seq in marked:
            if seq is not None and newest is not None:
                service.metrics.lag(newest - seq, name)
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
        *("GET", "/v1/buy-again/{user_id}", buy_again, "What a user is due to buy again", "read"),
        *(schema.AgainOptions, schema.ItemList, (404, 422), "user_id"),
    ),
    Operation(
        *("GET", "/v1/bought-together", bought_together, "Items that go with items", "read"),
        *(schema.TogetherOptions, schema.ItemList, (404, 422)),
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
    Operation(
        *("POST", "/v1/history", history, "What somebody has had", "read"),
        *(schema.HistoryBody, schema.HistoryList, (404, 422)),
    ),
    Operation(
        *("GET", "/v1/items", list_items, "The items that the model knows", "read"),
        *(schema.ItemsOptions, schema.Catalog, (422,)),
    ),
    Operation(
        *("GET", "/v1/users", list_users, "The users of the training table", "admin"),
        *(schema.CatalogOptions, schema.KnownUsers, (422,)),
    ),
    Operation(
        *("GET", "/v1/model", about_model, "The model that answers", "read"),
        *(schema.ModelOptions, schema.ModelBody, (422,)),
    ),
    Operation(
        *("POST", "/v1/reload", reload, "Take another model", "admin"),
        *(schema.ReloadBody, schema.Reloaded, (409, 422)),
    ),
    Operation(
        *("POST", "/v1/update", update, "Let the model learn the journal", "admin"),
        *(schema.UpdateOptions, schema.UpdateBody, (409, 422)),
        status=202,
    ),
    Operation("GET", "/health/live", live, "Whether the process works", None, answer=schema.Health),
    Operation("GET", "/health/ready", ready, "Whether to send requests", None, answer=schema.Health),
    Operation("GET", "/metrics", metrics, "Numbers for Prometheus", "read"),
)
