"""The tables of a search: what is trained on, what settings are measured on, and what is looked at once, at the end.

The validation part is cut off as the training table itself was split from the test: it should lie to the training part
as the test lies to both (``Interactions.split_by``; ``ANCF(choose_for=)`` goes by the same).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from ancf.data.concat import concat
from ancf.data.interactions import Interactions
from ancf.data.split import leave_last_out, random_split, time_split
from ancf.errors import InvalidDataError, InvalidParameterError

DEFAULT_SHARE = 0.2


@dataclass(frozen=True)
class Part:
    """One of the tables of a search."""

    name: str
    n_events: int
    n_users: int
    how: str = ""
    first: str = ""
    last: str = ""

    @classmethod
    def of(cls, name: str, table: Interactions, how: str = "") -> Self:
        """What there is to say of a table."""
        users = len(np.unique(table.users))
        if table.times is None or not len(table):
            return cls(name, len(table), users, how)
        ends = np.array([table.times.min(), table.times.max()], "datetime64[s]").astype("datetime64[D]")
        return cls(name, len(table), users, how, str(ends[0]), str(ends[1]))

    def __str__(self) -> str:
        when = f", {self.first} to {self.last}" if self.first else ""
        how = f" ({self.how})" if self.how else ""
        return f"{self.n_events:,} events of {self.n_users:,} users{when}{how}"


class Parts(NamedTuple):
    """The tables of a search."""

    train: Interactions
    validation: Interactions
    test: Interactions | None
    both: Interactions
    """Training and validation, for the last training."""
    how: str
    """How the validation part came about."""

    def described(self) -> tuple[Part, ...]:
        """What there is to say of each."""
        test = () if self.test is None else (Part.of("test", self.test),)
        return (Part.of("training", self.train), Part.of("validation", self.validation, self.how), *test)


def make_parts(train: Any, validation: Any, test: Any, random_state: int) -> Parts:
    """The tables as they are given, or with a validation part of ``train``.

    Raises
    ------
    InvalidDataError
        If one is no table, or ``train`` cannot be split.
    InvalidParameterError
        If the validation part is neither a table nor a share.
    """
    for what, table in (("train", train), ("test", test)):
        if not isinstance(table, Interactions) and not (what == "test" and table is None):
            raise InvalidDataError(
                f"tune takes ancf.Interactions as {what}, not {type(table).__name__}. "
                "Use ancf.read_interactions(table)."
            )
    if isinstance(validation, Interactions):
        both = concat([train, validation])
        both.split_by = train.split_by
        return Parts(train, validation, test, both, "as given")
    share = DEFAULT_SHARE if validation is None else validation
    number = isinstance(share, (int, float, np.number)) and not isinstance(share, (bool, np.bool_))
    if not number or not 0 < share < 1:
        raise InvalidParameterError(
            f"validation is {validation!r}; give ancf.Interactions, or a part of train between 0 and 1, such as 0.2."
        )
    share = float(share)
    times = train.times
    timed = times is not None and len(times) > 1 and bool(times.min() != times.max())
    if train.split_by in ("last", "user"):
        before, after = leave_last_out(train, random_state=random_state, on_leak="ignore")
        return Parts(before, after, test, train, "each user's last event" if timed else "an event of each user")
    if timed and train.split_by != "random":
        before, after = time_split(train, (1 - share, share))
        return Parts(before, after, test, train, f"the last {share:.0%} by time")
    before, after = random_split(train, (1 - share, share), random_state=random_state, on_leak="ignore")
    return Parts(before, after, test, train, f"{share:.0%} at random")
