"""What goes in and out over HTTP. These structs decode, check and document it (``openapi.py``) at once."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

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
OnUnknown = Literal["popular", "raise", "skip"]
Source = Literal["model", "history", "popular", "similar"]


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


class ListsBody(ListOptions, forbid_unknown_fields=True, kw_only=True):
    """Lists for several users, or for one history."""

    users: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.users)] | None = None
    history: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.items)] | None = None
    """Items of somebody of whom only these are known: a basket."""
    weights: Annotated[list[Quantity], Meta(max_length=_LIMITS.items)] | None = None
    """How much of each item of the history."""


class PopularOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a list of popular items may hold."""

    n: Length = 10
    category: str | None = None
    exclude: SomeIds | None = None


class SimilarOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a list of similar items may hold."""

    n: Length = 10
    metric: Literal["cosine", "inner"] = "cosine"
    category: str | None = None
    exclude: SomeIds | None = None


class ExplainOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose score of what."""

    user_id: Id
    item_id: Id


class ScoreBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A user, and the items to score for them."""

    user_id: Id
    items: Annotated[list[Id], Meta(min_length=1, max_length=_LIMITS.items)]


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
    reasons: list[Reason] | UnsetType = UNSET


class ItemList(Struct):
    """The list of a user (null for a bare history, or where it is nobody's), best first."""

    user_id: str | None
    items: list[Item]
    model_version: str
    took_ms: float


class ItemLists(Struct):
    """One list for each user, in the order of the request."""

    lists: list[ItemList]
    model_version: str
    took_ms: float


class ExplanationBody(Struct):
    """What a score is made of; the parts add up to it."""

    user_id: str
    item_id: str
    name: str | None
    score: float
    reasons: list[Reason]
    base: dict[str, float]
    model_version: str


class ScoreList(Struct):
    """A score for each item, in the order of the request."""

    user_id: str
    scores: list[float]
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


class ModelBody(Struct):
    """The model that answers."""

    model_version: str
    model: str
    users: int
    items: int
    user_id_kind: str
    item_id_kind: str
    categories: list[str]
    learned_until: datetime | None
    loaded_at: datetime
    previous_version: str | None
    failed: str | None
    """Why the model file as it is now was not taken; null where it was."""
    event_weights: dict[str, float]
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
