"""Splits of interactions into training, validation and test parts.

All parts share the id maps of the whole. A split that lets the future or the test events into training says so: once
as a ``LeakageWarning``, and for good in the ``leakage`` of each part, where reports can show it. ``split_by`` of each
part says how it came about, which tells a model what it will be asked. Splits are pure functions of the data and
``random_state``; the random ones draw as scikit-learn's ``train_test_split`` does, so that both give the same rows.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf._text import format_value
from ancf.checks import check_choice, check_flag, check_integer
from ancf.data.interactions import Interactions, SplitBy
from ancf.data.timestamps import read_moments
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.params import checks_call

OnLeak = Literal["warn", "ignore", "raise"]
Parts = tuple[Interactions, ...]
"""One part per fraction, in the order of the fractions."""

_SUM_TOLERANCE = 1e-9
_MAX_SEED = 2**32 - 1
"""Of NumPy's ``RandomState``."""
_MAX_EVENTS = 2**31 - 1


class LeakageWarning(UserWarning):
    """A split lets training see what a measurement on the test part is supposed to predict."""


@checks_call
def random_split(
    data: Interactions,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    *,
    random_state: int = 42,
    on_leak: OnLeak = "warn",
) -> Parts:
    """Events assigned to the parts at random.

    The same rows as scikit-learn's ``train_test_split`` applied from the left: the first part against the rest, then
    the second against what is left.

    Parameters
    ----------
    fractions : sequence of float
        One per part, adding up to 1.
    on_leak : "warn", "ignore" or "raise"
        Where events have times, a random split trains on the future; where a user took an item several times, the same
        pair lands in several parts.
    random_state : int
        Seed; the same one gives the same parts.

    Returns
    -------
    tuple of Interactions, one for each part

    Raises
    ------
    InvalidDataError
        If a part would be empty, or the split leaks and ``on_leak="raise"``.
    InvalidParameterError
        If an option makes no sense; names it and its value.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=[1, 2, 1, 3, 2])
    >>> [len(part) for part in random_split(data)]
    [3, 1, 1]
    """
    _check_interactions(data, "random_split")
    check_choice("on_leak", on_leak, get_args(OnLeak))
    check_integer("random_state", random_state, 0, _MAX_SEED)
    shares = _check_fractions(fractions)
    parts = _parts(data, split_rows(len(data), shares, random_state), "random")
    return _record_leakage(parts, _find_leaks(data, parts, "a random split"), on_leak)


def split_rows(n: int, fractions: Sequence[float], random_state: int) -> list[NDArray[np.intp]]:
    """Row numbers of each part, in the order in which ``train_test_split`` would give them."""
    rows: NDArray[np.intp] = np.arange(n)
    parts = []
    for at, share in enumerate(fractions[:-1]):
        rest = sum(fractions[at + 1 :])
        test_size = rest / (share + rest)
        n_held_out = int(np.ceil(round(test_size * len(rows), 6)))
        if not 0 < n_held_out < len(rows):
            raise InvalidDataError(
                f"{n} events cannot be split into {len(fractions)} parts of {tuple(fractions)}: one would be empty. "
                "Use more events or fewer parts."
            )
        shuffled = rows[np.random.RandomState(random_state).permutation(len(rows))]
        rows, part = shuffled[:n_held_out], shuffled[n_held_out:]
        parts.append(part)
    return [*parts, rows]


@checks_call
def time_split(data: Interactions, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, at: Any = None) -> Parts:
    """Events before a point in time, and after it: the split that measures what a shop will see.

    Parameters
    ----------
    fractions : sequence of float
        Shares of the events, oldest first. Events of the same second stay together, so shares are met as nearly as
        that allows.
    at : time or sequence of times, optional
        The times at which the later parts begin, instead of shares; ``at="2011-11-10"`` gives two parts. Text,
        datetimes or numbers, as in a table (docs/reading.md).

    Returns
    -------
    tuple of Interactions, one for each part

    Raises
    ------
    InvalidDataError
        If there are no times, or a part would be empty.
    InvalidParameterError
        If ``at`` is no time, or a number that may be several.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=[1, 2, 1, 3, 2], time=[10, 20, 30, 40, 50])
    >>> [part.times.tolist() for part in time_split(data)]
    [[10, 20, 30], [40], [50]]
    """
    _check_interactions(data, "time_split")
    times = _require_times(data, "time_split")
    if at is not None:
        cuts = _read_cuts(at, times)
    else:
        shares = _check_fractions(fractions)
        ordered = np.sort(times)
        places = np.round(np.cumsum(shares)[:-1] * len(ordered)).astype(np.int64)
        cuts = ordered[np.clip(places, 0, max(len(ordered) - 1, 0))]
    part_of = np.searchsorted(np.sort(cuts), times, side="right")
    parts = _parts(data, (part_of == part for part in range(len(cuts) + 1)), "time")
    rejections = data.rejections
    if rejections is not None and rejections.times is not None:
        part_of = np.searchsorted(np.sort(cuts), rejections.times, side="right")
        for number, part in enumerate(parts):
            part.rejections = rejections.keep(part_of == number)
    for number, part in enumerate(parts):
        if not len(part):
            cut_times = ", ".join(str(pd.Timestamp(int(cut), unit="s")) for cut in cuts)
            asked = f"fractions={tuple(fractions)}" if at is None else f"at={format_value(at)}"
            raise InvalidDataError(
                f"time_split: with {asked} part {number + 1} of {len(parts)} would be empty (cuts at {cut_times}). "
                "Choose other shares, or give dates with at=."
            )
    return tuple(parts)


def _read_cuts(at: Any, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """One moment or several as seconds."""
    if isinstance(at, np.ndarray) and not at.ndim:
        at = at[()]
    is_one = isinstance(at, (str, bytes)) or not hasattr(at, "__iter__")
    within = (int(times.min()), int(times.max())) if len(times) else None
    try:
        cuts = read_moments([at] if is_one else at, "at", within)
    except InvalidDataError as error:
        raise InvalidParameterError(str(error)) from None
    if not len(cuts):
        raise InvalidParameterError(f"at={at!r} has no time. Give one or more, such as '2011-11-10'.")
    return cuts


@checks_call
def leave_last_out(
    data: Interactions, n: int = 1, *, validation: bool = False, random_state: int = 42, on_leak: OnLeak = "warn"
) -> Parts:
    """The last n events of each user against the rest: ``(train, test)``, or ``(train, validation, test)``.

    Users with too few events to leave one for training stay in training whole. Without times the events left out are
    drawn at random.

    Parameters
    ----------
    data : Interactions
    n : int, at least 1
        Events of each user in each part that is held out.
    validation : bool
        Whether there is a validation part between the two.
    random_state : int
        Seed; draws where there are no times; the same one gives the same parts.
    on_leak : "warn", "ignore" or "raise"
        As in ``random_split``.

    Returns
    -------
    tuple of Interactions, two or three

    Raises
    ------
    InvalidParameterError
        If ``n`` is less than 1.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=[5, 6, 5], time=[10, 20, 30])
    >>> train, test = leave_last_out(data, on_leak="ignore")
    >>> test.item_ids.take(test.items).tolist()
    [6]
    """
    _check_interactions(data, "leave_last_out")
    check_integer("n", n, 1, _MAX_EVENTS)
    check_flag("validation", validation)
    check_choice("on_leak", on_leak, get_args(OnLeak))
    check_integer("random_state", random_state, 0, _MAX_SEED)
    if data.times is None:
        recency: NDArray[Any] = np.random.default_rng(random_state).permutation(len(data))
        leaks = ["there are no times: the events left out are drawn at random, not the last ones"]
    else:
        recency = data.times
        leaks = [
            "leave_last_out cuts each user at another time: training sees events later than other users' test events"
        ]
    order = np.lexsort((np.arange(len(data)), recency, data.users))
    counts = np.bincount(data.users, minlength=data.n_users)
    from_end = np.empty(len(data), np.int64)
    ends = np.cumsum(counts)
    from_end[order] = ends[data.users[order]] - 1 - np.arange(len(data))
    n_held_out = n * (2 if validation else 1)
    enough = counts[data.users] > n_held_out
    if not enough.any():
        raise InvalidDataError(
            f"leave_last_out: no user has more than {n_held_out} events, which {n} with validation={validation} takes. "
            "Leave fewer out, or use random_split."
        )
    masks = [enough & (from_end < n)]
    if validation:
        masks.insert(0, enough & (from_end >= n) & (from_end < n_held_out))
    train = ~np.logical_or.reduce(masks)
    split_by: SplitBy = "random" if data.times is None else "last"
    return _record_leakage(_parts(data, (train, *masks), split_by), leaks, on_leak)


@checks_call
def user_split(data: Interactions, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, random_state: int = 42) -> Parts:
    """Users assigned to the parts at random, each with all events: measures how well a model serves unknown users.

    Parameters
    ----------
    data : Interactions
    fractions : sequence of float
        Shares of the users, adding up to 1.
    random_state : int
        Seed; the same one gives the same parts.

    Returns
    -------
    tuple of Interactions, one for each part

    Raises
    ------
    InvalidDataError
        If there are fewer users than parts.
    InvalidParameterError
        If the shares or the seed make no sense.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 3, 4, 5], item=[1, 2, 1, 3, 2, 1])
    >>> [sorted(set(part.users.tolist())) for part in user_split(data)]
    [[0, 2, 3], [1], [4]]
    """
    _check_interactions(data, "user_split")
    check_integer("random_state", random_state, 0, _MAX_SEED)
    active = np.flatnonzero(np.bincount(data.users, minlength=data.n_users))
    shares = _check_fractions(fractions)
    part_of = np.empty(data.n_users, np.int64)
    if len(active) < len(shares):
        raise InvalidDataError(f"user_split: {len(active)} users cannot make {len(shares)} parts. Use random_split.")
    for number, rows in enumerate(split_rows(len(active), shares, random_state)):
        part_of[active[rows]] = number
    return tuple(_parts(data, (part_of[data.users] == number for number in range(len(shares))), "user"))


@checks_call
def kfold(
    data: Interactions, n_splits: int = 5, *, random_state: int = 42, on_leak: OnLeak = "warn"
) -> Iterator[tuple[Interactions, Interactions]]:
    """Every event once in a test part: ``n_splits`` pairs ``(train, test)``, events assigned at random.

    Parameters
    ----------
    data : Interactions
    n_splits : int, at least 2
    random_state : int
        Seed; the same one gives the same parts.
    on_leak : "warn", "ignore" or "raise"
        As in ``random_split``.

    Yields
    ------
    (train, test)
        Two Interactions.

    Raises
    ------
    InvalidDataError
        If a part would be empty, or the split leaks and ``on_leak="raise"``.
    InvalidParameterError
        If an option makes no sense; names it and its value.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=[1, 2, 1, 3, 2])
    >>> [len(test) for train, test in kfold(data, 2)]
    [3, 2]
    """
    _check_interactions(data, "kfold")
    check_integer("n_splits", n_splits, 2, len(data))
    check_choice("on_leak", on_leak, get_args(OnLeak))
    check_integer("random_state", random_state, 0, _MAX_SEED)
    shuffled = np.random.RandomState(random_state).permutation(len(data))
    folds = [np.sort(fold) for fold in np.array_split(shuffled, n_splits)]

    def folds_in_turn() -> Iterator[tuple[Interactions, Interactions]]:
        for number, fold in enumerate(folds):
            test = np.zeros(len(data), bool)
            test[fold] = True
            parts = _parts(data, (~test, test), "random")
            leaks = _find_leaks(data, parts, "a random fold")
            yield _record_leakage(parts, leaks, on_leak if number == 0 else "ignore", 3)  # type: ignore[misc]

    return folds_in_turn()


def _parts(data: Interactions, chosen: Iterable[NDArray[Any]], split_by: SplitBy) -> list[Interactions]:
    """The parts of these events, each of which knows how it came about."""
    parts = [data.subset(which) for which in chosen]
    for part in parts:
        part.split_by = split_by
    return parts


def _check_interactions(data: Interactions, what: str) -> None:
    if not isinstance(data, Interactions):
        raise InvalidDataError(
            f"{what}: data is {format_value(data)}, not ancf.Interactions. Use ancf.read_interactions(table) first."
        )


def _check_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    try:
        shares = tuple(float(share) for share in fractions)
    except (TypeError, ValueError, OverflowError):
        shares = ()
    if len(shares) < 2 or not min(shares) > 0 or not abs(sum(shares) - 1) <= _SUM_TOLERANCE:
        raise InvalidParameterError(
            f"fractions={fractions!r}: give two or more positive shares that add up to 1, such as (0.6, 0.2, 0.2)."
        )
    return shares


def _require_times(data: Interactions, what: str) -> NDArray[np.int64]:
    if data.times is None:
        raise InvalidDataError(
            f"{what} needs times, and these interactions have none. Use random_split, or name time=."
        )
    return data.times


def _find_leaks(data: Interactions, parts: Sequence[Interactions], what: str) -> list[str]:
    leaks = []
    if data.times is not None and len(data) and data.times.min() != data.times.max():
        leaks.append(f"{what} of timed events trains on the future of the test part: time_split does not")
    if len(data.pair_counts()) < len(data):
        train, test = (part.users.astype(np.int64) * data.n_items + part.items for part in (parts[0], parts[-1]))
        n_repeated = int(np.isin(test, train).sum())
        if n_repeated:
            leaks.append(
                f"{n_repeated:,} of {len(test):,} test events repeat a (user, item) pair of the training part: "
                "measure new items only, or split by time"
            )
    return leaks


def _record_leakage(parts: Sequence[Interactions], leaks: Sequence[str], on_leak: OnLeak, level: int = 4) -> Parts:
    """``level`` is how far above the warning the caller's own line is."""
    if leaks and on_leak == "raise":
        raise InvalidDataError(f"this split leaks: {'; '.join(leaks)}. Choose another split, or on_leak='warn'.")
    if leaks and on_leak == "warn":
        warnings.warn(f"{'; '.join(leaks)}. (on_leak='ignore' silences this.)", LeakageWarning, stacklevel=level)
    for part in parts:
        part.leakage = (*part.leakage, *leaks)
    return tuple(parts)
