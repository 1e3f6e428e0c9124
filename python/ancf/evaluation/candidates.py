"""What is ranked for each user measured: the whole catalogue, sampled items, or given ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.checks import check_integer
from ancf.data.csr import ItemSets
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.evaluation.ground_truth import GroundTruth, Known
from ancf.scoring.filters import Filters, Requested

if TYPE_CHECKING:
    import pandas as pd

Candidates: TypeAlias = Union[
    Literal["all", "sampled"], Mapping[Any, Any], "pd.DataFrame"
]  # Union: text among the types
N_NEGATIVES, RANDOM_STATE = 99, 42


class CandidateSets(NamedTuple):
    """The candidates of each user measured."""

    label: str
    """What they are, in a word or two: "99 sampled", "given"."""
    sets: ItemSets
    """A row for each user measured."""
    notes: list[str]
    """What has to be told of them."""


def find_candidates(
    given: Candidates,
    n_negatives: int,
    random_state: int,
    known: Known,
    truth: GroundTruth,
    new_only: bool,
    num_threads: int | None,
) -> CandidateSets | None:
    """The candidates of the users measured; None for the whole catalogue.

    Raises
    ------
    InvalidParameterError, InvalidDataError
    """
    check_integer("n_negatives", n_negatives, 1, 2**31 - 1)
    check_integer("random_state", random_state, 0, 2**64 - 1)
    sampled = isinstance(given, str) and given == "sampled"
    for name, value, default in (
        ("n_negatives", n_negatives, N_NEGATIVES),
        ("random_state", random_state, RANDOM_STATE),
    ):
        if not sampled and value != default:
            raise InvalidParameterError(
                f'{name}={value!r} has no effect without candidates="sampled". Leave it out, or choose that.'
            )
    if isinstance(given, str) and given not in ("all", "sampled"):
        raise InvalidParameterError(
            f"candidates is {given!r}; it must be 'all', 'sampled', or a mapping or table of items for each user."
        )
    if sampled:
        return _sample(n_negatives, random_state, known, truth, new_only, num_threads)
    return None if isinstance(given, str) else _read(given, known, truth, new_only)


def _sample(
    n: int, seed: int, known: Known, truth: GroundTruth, new_only: bool, num_threads: int | None
) -> CandidateSets:
    """What each user wants, and n items of the catalogue that the user neither had in training nor has in the test."""
    n_items = len(known.item_ids)
    if not n_items:
        raise InvalidParameterError('candidates="sampled" needs the catalogue. Give train=.')
    seen, wanted = known.had.take(truth.users), truth.wanted
    own = wanted.keep(wanted.items < n_items).union(seen)
    drawn = ItemSets(*_native.sample_negatives(int(seed), truth.users, own, n_items, int(n), num_threads=num_threads))
    notes = []
    short = int((np.diff(drawn.indptr) < n).sum())
    if short:
        notes.append(f"{short:,} users have fewer than {n:,} items left to sample")
    had = 0 if new_only else len(wanted.items) - int(np.diff(_difference(wanted, seen).indptr).sum())
    if had:
        notes.append(
            f"{had:,} candidates were had in training, none of those sampled: a model of repeats looks too good"
        )
    return CandidateSets(f"{n:,} sampled", drawn.union(wanted), notes)


def _difference(sets: ItemSets, others: ItemSets) -> ItemSets:
    """Row by row what the first holds and the second does not."""
    width = 1 + max((int(part.items.max()) for part in (sets, others) if len(part.items)), default=0)
    row = np.repeat(np.arange(sets.n_rows), np.diff(sets.indptr))
    keys = np.repeat(np.arange(others.n_rows), np.diff(others.indptr)) * width + others.items
    return sets.keep(~np.isin(row * width + sets.items, keys))


def _read(given: Any, known: Known, truth: GroundTruth, new_only: bool) -> CandidateSets:
    """Candidates that the caller gives, as ``recommend(items=)`` takes them."""
    users = known.user_ids.values[truth.users]
    ids = known.item_ids if len(known.item_ids) else known.other_items
    assert ids is not None
    try:
        filters = Filters.resolve(given, None, ids, Requested(users, known.user_ids))
    except InvalidDataError as error:
        text = str(error).replace("lists of allowed items", "candidates").replace("list of allowed items", "candidates")
        raise InvalidDataError(text.replace("items: ", "candidates: ", 1)) from None
    sets = filters.allow_each
    if sets is None:
        assert filters.allow is not None
        everybody = np.flatnonzero(filters.allow).astype(np.int32)
        sets = ItemSets(np.arange(len(users) + 1) * len(everybody), np.tile(everybody, len(users)))
    notes = []
    outside = len(_difference(truth.wanted, sets).items)
    if outside:
        notes.append(f"{outside:,} test items are no candidates and cannot be found")
    had = len(sets.items) - len(_difference(sets, known.had.take(truth.users)).items)
    if had and new_only:
        notes.append(f"{had:,} candidates were had in training and are left out")
    elif had:
        notes.append(f"{had:,} candidates were had in training: a model of repeats ranks them first")
    return CandidateSets("given", sets, notes)


def candidate_mask(
    sets: ItemSets, rows: NDArray[np.int64], items: NDArray[np.int64], n_items: int
) -> NDArray[np.bool_]:
    """Which items are candidates of the users in these rows; an item of -1 is none."""
    keys = np.repeat(np.arange(sets.n_rows), np.diff(sets.indptr)) * n_items + sets.items
    return (items >= 0) & np.isin(rows * n_items + items, keys)
