"""What an update brought: new users and items, returns, and how much of all is newer than the training."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class UpdateReport:
    """The account of one ``partial_fit``.

    Attributes
    ----------
    events : int
        Events taken in.
    repeated, corrected : int
        With ``deduplicate=True``: events that were in already, and those of them whose quantity is another now.
    new_users, new_items : int
    touched_items : int
        Items with an event in this table.
    returns, cancelled : int
        Events with a negative quantity, and the purchases that are gone since.
    gone_users : int
        Users of whose purchases nothing is left.
    trained, since : int or None
        Events that the model was trained on, and those that it has beside them; None for a model that learns everything
        anew.
    untrained_items : int or None
        Items that came since the training; None likewise.
    fit : float or None
        How often a new purchase of a known user had a higher score than an item drawn at random, before it was taken
        in: 0.5 is chance. Over at most 1,000 pairs of known users and items; None where there is none.
    """

    events: int
    repeated: int = 0
    corrected: int = 0
    new_users: int = 0
    new_items: int = 0
    touched_items: int = 0
    returns: int = 0
    cancelled: int = 0
    gone_users: int = 0
    trained: int | None = None
    since: int | None = None
    untrained_items: int | None = None
    fit: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary of numbers."""
        return dict(self.__dict__)

    def __str__(self) -> str:
        parts = [
            _count(self.new_users, "new user"),
            _count(self.new_items, "new item"),
            _count(self.touched_items, "item") + " touched",
        ]
        if self.repeated:
            parts.append(f"{_count(self.repeated, 'event')} in already")
        if self.corrected:
            parts.append(f"{self.corrected:,} of these corrected")
        if self.returns:
            parts.append(f"{_count(self.returns, 'return')} ({_count(self.cancelled, 'purchase')} gone)")
        if self.gone_users:
            parts.append(f"{_count(self.gone_users, 'user')} without purchases now")
        lines = [f"{_count(self.events, 'event')} taken in: {', '.join(parts)}"]
        if self.trained is not None and self.since is not None:
            share = f", {100 * self.since / self.trained:.1f} %" if self.trained else ""
            items = f", and {_count(self.untrained_items, 'item')} that it did not have" if self.untrained_items else ""
            lines.append(f"{_count(self.since, 'event')} beyond the {self.trained:,} of the training{share}{items}")
        if self.fit is not None:
            lines.append(f"new purchases scored above random items {100 * self.fit:.0f} % of the time")
        return "\n".join(lines)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
