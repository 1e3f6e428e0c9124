"""The only module that imports the extension module; everything else imports from here."""

from ancf._core import (
    Ranker,
    RankingTrainer,
    TableScanner,
    __version__,
    canonical_events,
    item_neighbours,
    item_priors,
    load_model,
    ranking_metrics,
    resolve_num_threads,
    ridge_neighbours,
    save_model,
    score_scales,
    serving_vectors,
    simd_levels,
    user_vectors,
)

__all__ = [
    "Ranker",
    "RankingTrainer",
    "TableScanner",
    "__version__",
    "canonical_events",
    "item_neighbours",
    "item_priors",
    "load_model",
    "ranking_metrics",
    "resolve_num_threads",
    "ridge_neighbours",
    "save_model",
    "score_scales",
    "serving_vectors",
    "simd_levels",
    "user_vectors",
]
