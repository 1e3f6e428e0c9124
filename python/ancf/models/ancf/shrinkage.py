"""Choosing λ of the item-item weights of a small catalogue, which differ most in the λ they want.

The weights alone rank what was held out: with vectors beside them the same λ is best
(docs/measurements/choices.md). They take a twentieth of a training, so that where any purchases will be asked for, a
fifth of them is held out several times; otherwise it is what the rest of the mixture is chosen on.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.csr import Csr
from ancf.models.ancf.options import Settings, shrinkages
from ancf.models.ancf.selection import CUT_OFF, HeldOut, hold_out, is_beyond_error, ndcg
from ancf.models.ancf.temporal import sparse_history
from ancf.models.ancf.training_table import TrainingTable, ridge_neighbors
from ancf.scoring.histories import ones
from ancf.scoring.results import TopN

_HOLD_OUTS = 4


def choose_shrinkage(table: TrainingTable, held_out: HeldOut, settings: Settings) -> float:
    """The λ that ranks held-out purchases best, by the rule of one standard error from that of the settings.

    Smaller ones are tried as long as that gains.
    """
    tries = shrinkages(settings)
    if len(tries) < 2:
        return tries[0]
    parts = [held_out]
    if settings.choose_for == "random":
        seeds = ((settings.random_state + number) % 2**64 for number in range(1, _HOLD_OUTS + 1))
        drawn = (
            hold_out(table.matrix.sets, None, seed, table.data.pair_had(), alternates_strategies=False)
            for seed in seeds
        )
        parts = [part for part in drawn if part is not None]

    def measure(shrinkage: float) -> NDArray[np.float64]:
        tried = replace(settings, neighbor_shrinkage=shrinkage)
        return np.concatenate([_ndcg_of_weights(table.pairs(part), part, table.n_items, tried) for part in parts])

    chosen = tries[0]
    first = best = measure(chosen)
    for tried in tries[1:]:
        found = measure(tried)
        if found.mean() <= best.mean():
            break
        chosen, best = tried, found
    return chosen if is_beyond_error(best - first) else tries[0]


def _ndcg_of_weights(pairs: Csr, held_out: HeldOut, n_items: int, settings: Settings) -> NDArray[np.float64]:
    """Of each user asked, by the item-item weights alone."""
    ranker = _native.Ranker(np.zeros((n_items, 0), np.float32), neighbors=ridge_neighbors(pairs, n_items, settings))
    rows = pairs.take(held_out.users)
    history = sparse_history(*rows.sets, ones(len(rows.indices)), None, n_items)
    ranker.set_users(np.zeros((rows.n_rows, 0), np.float32), history, rows.sets)
    top = TopN(*ranker.top_n(None, CUT_OFF, num_threads=settings.num_threads))
    return ndcg(top, held_out, n_items, settings.num_threads)
