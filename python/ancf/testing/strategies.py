"""Hypothesis strategies for interaction tables: small, with ties, repeats, lone users and every kind of id."""

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ancf.data.interactions import Interactions

# Each kind of id a table may have, made from a whole number.
_KINDS: dict[str, Callable[[int], Any]] = {
    "int": lambda n: n * 7 + 1,
    "str": lambda n: f"{n:03d}é",
    "uuid": lambda n: uuid.UUID(int=n + 1),
    "bytes": lambda n: f"b{n}".encode(),
}


def id_arrays(n: int, kind: str = "str") -> list[Any]:
    """``n`` distinct ids of a kind: ``int``, ``str``, ``uuid`` or ``bytes``."""
    return [_KINDS[kind](number) for number in range(n)]


@st.composite
def interactions(
    draw: st.DrawFn,
    max_users: int = 12,
    max_items: int = 15,
    max_events: int = 60,
    kinds: tuple[str, ...] = ("int", "str"),
    weighted: bool = False,
    timed: bool = False,
) -> Interactions:
    """A table of at least one event; few users and items, so that ties and repeats are common.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(interactions())
    ... def test(data):
    ...     assert len(data) >= 1
    >>> test()
    """
    n_users = draw(st.integers(1, max_users))
    n_items = draw(st.integers(1, max_items))
    n = draw(st.integers(1, max_events))
    users = draw(st.lists(st.integers(0, n_users - 1), min_size=n, max_size=n))
    items = draw(st.lists(st.integers(0, n_items - 1), min_size=n, max_size=n))
    user_kind, item_kind = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds))
    weights = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=n, max_size=n)) if weighted else None
    times = draw(st.lists(st.integers(0, 10**6), min_size=n, max_size=n)) if timed else None
    return Interactions.from_ids(
        user=[_KINDS[user_kind](user) for user in users],
        item=[_KINDS[item_kind](item) for item in items],
        weight=None if weights is None else np.array(weights),
        time=None if times is None else np.array(times),
    )


@st.composite
def histories(draw: st.DrawFn, data: Interactions, max_items: int = 8) -> list[Any]:
    """A history of distinct items of the table, at least one."""
    known = data.compact().item_ids.values.tolist()
    size = draw(st.integers(1, min(max_items, len(known))))
    chosen = draw(st.permutations(range(len(known))))[:size]
    return [known[at] for at in chosen]
