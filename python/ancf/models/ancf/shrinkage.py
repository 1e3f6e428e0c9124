"""Choosing λ of the item-item weights of a small catalogue, which differ most in the λ they want.

The weights alone rank what was held out: with vectors beside them the same λ is best
(docs/measurements/choices.md). What the rest of the mixture is chosen on most often tells; where any purchases will be
asked for, a fifth is held out of the table once more, up to three times, as long as it does not.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr
from ancf.models.ancf.options import Settings, shrinkages
from ancf.models.ancf.selection import CUT_OFF, HeldOut, hold_out, is_beyond_error
from ancf.models.ancf.temporal import sparse_history
from ancf.models.ancf.training_table import TrainingTable, ridge_neighbors, ridge_path
from ancf.scoring.histories import ones

_MORE_HOLD_OUTS = 3
# A gain of so many standard errors is beyond doubt; of so many it may go on with a smaller λ still.
_CLEAR, _LARGE = 2.0, 3.0


def choose_shrinkage(table: TrainingTable, held_out: HeldOut, settings: Settings) -> tuple[float, Csr | None]:
    """The λ that ranks held-out purchases best, by the rule of one standard error from that of the settings; and the
    weights by it of what was not held out.

    The smallest is tried only where the second gains much.
    """
    tries, pairs = shrinkages(settings), table.pairs(held_out)
    if len(tries) < 2:
        return tries[0], ridge_neighbors(pairs, table.n_items, settings)
    first, second = ridge_path(pairs, table.n_items, settings, tries[:2])
    gain = _gain(first, second, pairs, held_out, settings)
    more = _hold_out_again(table, settings)
    while gain.mean() > 0 and not is_beyond_error(gain, _CLEAR) and (part := next(more, None)):
        others = table.pairs(part)
        one, other = ridge_path(others, table.n_items, settings, tries[:2])
        gain = np.concatenate((gain, _gain(one, other, others, part, settings)))
    if not is_beyond_error(gain):
        return tries[0], first
    if is_beyond_error(gain, _LARGE):
        (third,) = ridge_path(pairs, table.n_items, settings, tries[2:])
        if is_beyond_error(_gain(second, third, pairs, held_out, settings)):
            return tries[2], third
    return tries[1], second


def _hold_out_again(table: TrainingTable, settings: Settings) -> Iterator[HeldOut]:
    """Other hold-outs, where any purchases will be asked for."""
    for number in range(1, _MORE_HOLD_OUTS + 1 if settings.choose_for == "random" else 1):
        seed = (settings.random_state + number) % 2**64
        part = hold_out(table.matrix.sets, None, seed, table.data.pair_had(), alternates_strategies=False)
        if part is not None:
            yield part


def _gain(first: Csr, second: Csr, pairs: Csr, held_out: HeldOut, settings: Settings) -> NDArray[np.float64]:
    """What each user of whom any purchases are asked gains by the second weights alone, against the first alone."""
    before, after = (_ndcg_of_weights(weights, pairs, held_out, settings) for weights in (first, second))
    return after - before


def _ndcg_of_weights(weights: Csr, pairs: Csr, held_out: HeldOut, settings: Settings) -> NDArray[np.float64]:
    """Of each user of whom any purchases are asked, by the item-item weights alone."""
    n_items, step = weights.n_rows, held_out.step
    rows = pairs.take(held_out.users[::step])
    wanted = held_out.truth.take(np.arange(0, len(held_out.users), step))
    history = sparse_history(*rows.sets, ones(len(rows.indices)), None, n_items)
    vectors = np.zeros((rows.n_rows, 0), np.float32), np.zeros((n_items, 0), np.float32)
    both, mixtures = (history, weights), [(ones(n_items), ones(n_items))]
    (found,) = _native.mixed_ndcg(*vectors, both, rows.sets, wanted, mixtures, CUT_OFF, settings.num_threads)
    return found
