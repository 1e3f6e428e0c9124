"""The only module that imports the extension module; everything else imports from here."""

from ancf._core import (
    Ranker,
    TableScanner,
    __version__,
    canonical_events,
    item_neighbours,
    ranking_metrics,
    resolve_num_threads,
    ridge_neighbours,
    simd_levels,
)

__all__ = [
    "Ranker",
    "TableScanner",
    "__version__",
    "canonical_events",
    "item_neighbours",
    "ranking_metrics",
    "resolve_num_threads",
    "ridge_neighbours",
    "simd_levels",
]
