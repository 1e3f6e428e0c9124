"""What a server is started with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ancf.errors import InvalidParameterError
from ancf.serving.limits import Limits

PURCHASE, RETURN = "purchase", "return"
EVENT_WEIGHTS: Mapping[str, float] = {PURCHASE: 1.0, "view": 0.1, RETURN: -1.0}
"""What an event weighs in a user's history if nothing else is said."""


@dataclass(frozen=True)
class Settings:
    """Everything that a worker needs to know."""

    model: str
    """The path of the model file."""
    journal: str
    """``sqlite:///PATH`` or ``postgresql://…``: where events are kept."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    api_key_file: str | None = None
    event_weights: Mapping[str, float] = field(default_factory=lambda: dict(EVENT_WEIGHTS))
    access_log: bool = False
    watch_interval: float = 1.0
    """Seconds between two looks at the model file."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for event, weight in self.event_weights.items():
            if not math.isfinite(weight):
                raise InvalidParameterError(f"event_weights: {event} weighs {weight}. Give a finite number.")
        for event, wanted in ((PURCHASE, "above"), (RETURN, "below")):
            weight = self.event_weights.get(event, 1.0 if event == PURCHASE else -1.0)
            if (weight > 0) is not (event == PURCHASE) or weight == 0:
                raise InvalidParameterError(
                    f"event_weights: {event} weighs {weight:g}; it must weigh {wanted} 0. "
                    "Leave it out for its usual weight."
                )


def default_journal(model: str) -> str:
    """The journal beside a model file."""
    return f"sqlite:///{model}.events.db"
