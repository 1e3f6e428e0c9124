"""What a server is started with."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ancf.errors import InvalidParameterError
from ancf.serving.limits import Limits

_VARIANT = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """Everything that a worker needs to know."""

    model: str
    """The path of the model file."""
    journal: str
    """``sqlite:///PATH`` or ``postgresql://…``: where events are kept."""
    name: str = "main"
    """What the model is called among several."""
    more_models: Mapping[str, str] = field(default_factory=dict)
    """The paths of others, by name."""
    split: Mapping[str, float] = field(default_factory=dict)
    """Which part of the users gets the lists of another model than the first, by its name."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    api_key_file: str | None = None
    event_weights: Mapping[str, float] = field(default_factory=dict)
    """What events of a type weigh in a user's history, where that is not what the model says (``counting.py``)."""
    update_every: float | None = None
    """Minutes between two updates of the models from the journal; None: only when they are asked for."""
    access_log: bool = False
    rules: str | None = None
    """The path of a TOML file with a table ``[rules]``."""
    stock: str | None = None
    """The path of a file with the ids of what is in stock, one a line."""
    keep_previous: bool = True
    """Whether the present and the previous model are kept beside the file, so that there is a way back."""
    watch_interval: float = 1.0
    """Seconds between two looks at the model file."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in self.more_models:
            if not _VARIANT.fullmatch(name) or name == self.name:
                raise InvalidParameterError(
                    f"more_models: {name!r} is no name for another model than {self.name!r}. "
                    "Give letters, digits, '-', '_' and '.', at most 64."
                )
        for name, share in self.split.items():
            if name not in self.more_models:
                others = ", ".join(self.more_models) or "no other models; name one first"
                raise InvalidParameterError(f"split: there is no other model {name!r}. There are {others}.")
            if not 0 < share <= 1:
                raise InvalidParameterError(f"split: the share of {name} is {share}. Give one above 0 and at most 1.")
        if sum(self.split.values()) > 1 + 1e-9:
            raise InvalidParameterError(f"split: the shares add up to {sum(self.split.values()):g}; 1 is all users.")
        if self.update_every is not None and not 0 < self.update_every < math.inf:
            raise InvalidParameterError(f"update_every={self.update_every!r}: give minutes, a number above 0.")
        if self.event_weights:
            _check_event_weights(self.event_weights)


def _check_event_weights(event_weights: Mapping[str, float]) -> None:
    # It loads pandas, for which the process that starts workers has no use.
    from ancf.serving.counting import PURCHASE, RETURN, kind_of

    for event, weight in event_weights.items():
        if not math.isfinite(weight):
            raise InvalidParameterError(f"event_weights: {event} weighs {weight}. Give a finite number.")
        wanted = {PURCHASE: "above", RETURN: "below"}.get(kind_of(event) or "")
        if wanted is not None and not (weight > 0 if wanted == "above" else weight < 0):
            raise InvalidParameterError(
                f"event_weights: {event} weighs {weight:g}; it must weigh {wanted} 0. "
                "Leave it out for its usual weight."
            )


def default_journal(model: str) -> str:
    """The journal beside a model file."""
    return f"sqlite:///{model}.events.db"
