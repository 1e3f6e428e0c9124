"""What goes in and out over HTTP. These structs decode, check and document it (``openapi.py``) at once."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ancf.scoring.results import Source
from ancf.serving.limits import Limits

_LIMITS = Limits()

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=_LIMITS.id_length,
        pattern=r"^[^\x00]*$",
        description="An id, as text whatever its kind in the training table.",
    ),
]
SomeIds = Annotated[list[Id], Meta(max_length=_LIMITS.items)]
Length = Annotated[int, Meta(ge=1, le=_LIMITS.list_length, description="Items of a list.")]
Reasons = Annotated[int, Meta(ge=0, le=100, description="So many purchases that add most to each score.")]
Quantity = Annotated[float, Meta(gt=0, le=1e6)]
Diversity = Annotated[float, Meta(ge=0, le=1, description="How much unlikeness to what stands before counts.")]
Condition = Annotated[str, Meta(min_length=1, max_length=500, description="Such as category == 'toys' and price < 50.")]
Moment = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="A list as of this moment, such as 2026-11-27 or 2026-11-27T08:30:00Z: what happened later does "
        "not count; a date is its first moment. For models that know times.",
    ),
]
OnUnknown = Literal["popular", "raise", "skip"]
Variant = Annotated[str, Meta(min_length=1, max_length=64, description="One of the models that are served, by name.")]


# ---- questions


class ListOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a list may hold."""

    n: Length = 10
    exclude_seen: bool = True
    """Leave out what the user has bought."""
    category: str | None = None
    """Only items of this category."""
    items: SomeIds | None = None
    """Only these items."""
    exclude: SomeIds | None = None
    """None of these items."""
    explain: Reasons = 0
    on_unknown: OnUnknown = "popular"
    """What somebody gets of whom nothing is known: the most popular items, an error, or an empty list."""
    diversity: Diversity = 0.0
    diversity_by: Condition | None = None
    """An attribute: items with the same value are alike; by default the vectors of the model are compared."""
    now: Moment | None = None
    model: Variant | None = None
    """Which of several models is asked; the server chooses where it is missing."""


class RulesBody(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the lists of a request obey beside the rules of the shop, as ``ancf.Rules`` takes it (docs/rules.md)."""

    deny: SomeIds = []
    where: Condition | None = None
    boosts: Annotated[dict[Condition, float], Meta(max_length=50)] = {}
    at_most: Annotated[dict[Condition, Annotated[int, Meta(ge=0, le=1000)]], Meta(max_length=20)] = {}
    at_least: Annotated[dict[Condition, Annotated[int, Meta(ge=0, le=1000)]], Meta(max_length=20)] = {}
    pins: dict[str, Id] | Annotated[list[Id], Meta(max_length=_LIMITS.list_length)] = []
    diversity: Diversity = 0.0
    diversity_by: Condition | None = None
    fade: Annotated[float, Meta(gt=0, le=1)] = 0.7


class ListsBody(ListOptions, forbid_unknown_fields=True, kw_only=True):
    """Lists for several users, or for one history."""

    users: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.users)] | None = None
    history: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.items)] | None = None
    """Items of somebody of whom only these are known; beside one user, a basket that counts as if it were bought."""
    rules: RulesBody | None = None
    weights: Annotated[list[Quantity], Meta(max_length=_LIMITS.items)] | None = None
    """How much of each item of the history."""


class AgainOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a list of what somebody is due to buy again may hold."""

    n: Length = 10
    category: str | None = None
    exclude: SomeIds | None = None
    on_unknown: Literal["skip", "raise"] = "skip"
    """What somebody gets of whom nothing is known: an empty list, or an error."""
    now: Moment | None = None
    """By default the end of the training table, or the user's last event where that is later."""
    model: Variant | None = None


class PopularOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a list of popular items may hold."""

    n: Length = 10
    category: str | None = None
    exclude: SomeIds | None = None
    model: Variant | None = None


class SimilarOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a list of similar items may hold."""

    n: Length = 10
    metric: Literal["cosine", "inner"] = "cosine"
    category: str | None = None
    exclude: SomeIds | None = None
    model: Variant | None = None


class TogetherOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What goes with which items."""

    item_id: Annotated[list[Id], Meta(min_length=1, max_length=100)]
    """The items of a basket; repeated for several."""
    n: Length = 10
    category: str | None = None
    exclude: SomeIds | None = None
    model: Variant | None = None


class ExplainOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose score of what."""

    user_id: Id
    item_id: Id
    now: Moment | None = None
    model: Variant | None = None


class ScoreBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A user, and the items to score for them."""

    user_id: Id
    items: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.items)]
    now: Moment | None = None
    model: Variant | None = None


class HistoryBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose history: that of a user, or of somebody of whom only some items are known, or both together."""

    user_id: Id | None = None
    history: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.items)] | None = None
    model: Variant | None = None


class CatalogOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which items or users."""

    n: Length = 50
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    """So many of them are passed over."""
    search: Annotated[str, Meta(max_length=_LIMITS.id_length)] | None = None
    """Only those with these words in their id or name."""


class ItemsOptions(CatalogOptions, forbid_unknown_fields=True, kw_only=True):
    """Which items."""

    category: str | None = None


class EventBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Something that a user did."""

    event_id: Id
    """Yours, and one of a kind: an event that is sent again counts once."""
    user_id: Id
    item_id: Id
    event: str = "purchase"
    """One of the types that ``GET /v1/model`` names."""
    quantity: Quantity = 1.0
    time: datetime | None = None
    """Now where it is missing; without a zone in UTC; at most five minutes ahead."""


class EventsBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One or several events."""

    events: Annotated[list[EventBody], Meta(min_length=1, max_length=_LIMITS.events)]


class ReloadBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which model to go on with."""

    to: Literal["file", "previous"] = "file"
    """The model file as it is now, or the model before the present one."""
    model: Variant | None = None


class UpdateOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which model to update."""

    model: Variant | None = None


class ModelOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which model to tell of."""

    model: Variant | None = None


class NoOptions(Struct, forbid_unknown_fields=True):
    """No parameters."""


# ---- answers


class Reason(Struct, gc=False):
    """What a purchase adds to a score."""

    item_id: str
    name: str | None
    adds: float


class Item(Struct, omit_defaults=True, gc=False):
    """An item of a list."""

    item_id: str
    score: float
    rank: int
    source: Source
    name: str | None = None
    category: str | None = None
    reasons: list[Reason] | UnsetType = UNSET


class ItemList(Struct):
    """The list of a user (null for a bare history, or where it is nobody's), best first."""

    user_id: str | None
    items: list[Item]
    variant: str
    model_version: str
    took_ms: float


class ItemLists(Struct):
    """One list for each user, in the order of the request; each says which model it is of."""

    lists: list[ItemList]
    model_version: str
    took_ms: float


class CompanionBody(Struct):
    """An item beside which another one stands by its attributes."""

    item_id: str
    name: str | None
    share: float
    """How much of the other one's place comes from it."""
    shared: list[str]
    """What both have in common."""


class ExplanationBody(Struct):
    """What a score is made of; the parts add up to it."""

    user_id: str
    item_id: str
    name: str | None
    score: float
    reasons: list[Reason]
    base: dict[str, float]
    link: Literal["identity", "sigmoid"]
    """The last step of the score; the parts add up to what goes into it."""
    companions: list[CompanionBody]
    """Of an item that has its place from its attributes: the items beside which it stands."""
    model_version: str


class ScoreList(Struct):
    """A score for each item, in the order of the request."""

    user_id: str
    scores: list[float]
    model_version: str


class HistoryItem(Struct, omit_defaults=True):
    """What somebody has had."""

    item_id: str
    name: str | None = None
    category: str | None = None
    weight: float = 1.0
    time: datetime | None = None
    attention: float | None = None
    """Which part of the attention is on it, between 0 and 1; missing in models without attention of its own to each."""


class HistoryList(Struct):
    """What somebody has had, as the model counts it, the latest first."""

    user_id: str | None
    items: list[HistoryItem]
    variant: str
    model_version: str


class CatalogItem(Struct, omit_defaults=True):
    """An item that the model knows."""

    item_id: str
    users: int
    """So many had it in the training table."""
    name: str | None = None
    category: str | None = None


class Catalog(Struct):
    """Items, those first that most users had."""

    items: list[CatalogItem]
    total: int
    """So many there are in all."""
    model_version: str


class KnownUser(Struct):
    """A user of the training table."""

    user_id: str
    items: int
    """So many items they had."""


class KnownUsers(Struct):
    """Users, in the order of the training table."""

    users: list[KnownUser]
    total: int
    model_version: str


class Accepted(Struct):
    """Events are on the disk."""

    accepted: int
    """So many were new."""
    duplicates: int
    """So many were known by their ``event_id``."""
    unknown_items: list[str]
    """Items that the model does not know: kept for its next training, without effect on lists until then."""


class Forgotten(Struct):
    """A user's events are erased."""

    user_id: str
    events: int


class VariantBody(Struct):
    """One of the models that are served."""

    name: str
    model: str
    model_version: str
    share: float
    """The part of the users who get its lists."""


class UpdateBody(Struct):
    """How the last update of a model from the journal stands."""

    state: Literal["running", "ok", "unchanged", "failed", "interrupted"]
    """``unchanged``: there was nothing to learn. After ``failed`` and ``interrupted`` the model is as it was."""
    started: datetime
    finished: datetime | None
    events: int
    """So many were taken in."""
    updated_to: str | None
    """The version of the model file that was written; every worker takes it within a second or two."""
    error: str | None
    warning: str | None


class ModelBody(Struct):
    """A model that answers, and which others there are."""

    variant: str
    variants: list[VariantBody]
    model_version: str
    model: str
    users: int
    items: int
    user_id_kind: str
    item_id_kind: str
    categories: list[str]
    learned_until: datetime | None
    learned_event: int | None
    """The last event of the journal that the model has learned; null where only times tell."""
    journal_mark: str | None
    """What a training table that has all events in the journal so far is marked with (``Interactions.mark``); null, as
    ``update``, while the journal cannot be read."""
    update: UpdateBody | None
    """The last update from the journal; null where there was none."""
    loaded_at: datetime
    previous_version: str | None
    failed: str | None
    """Why the model file as it is now was not taken; null where it was."""
    event_weights: dict[str, float]
    rules: dict[str, Any] | None
    """The rules of the shop, which every list obeys; null without any."""
    in_stock: int | None
    """So many of the items are in stock; null where nothing is said of that."""
    unknown_ids: dict[str, int]
    """So many ids of the shop's files the model does not know: of ``stock``, and of those that the rules ``deny``."""
    warnings: list[str]
    """Which of these files have no known id at all."""
    ancf_version: str


class Reloaded(Struct):
    """Which model answers now, in this worker; the others follow within a second or two."""

    model_version: str
    previous_version: str | None
    changed: bool


class Health(Struct):
    """Whether the server works."""

    status: Literal["ok"]


class ProblemBody(Struct):
    """What is wrong with a request (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    place: str | None
    remedy: str | None
    request_id: str
