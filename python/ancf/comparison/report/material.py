"""What the report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ancf.comparison.pairs import Difference
from ancf.data.interactions import Interactions
from ancf.models.base import Recommender


@dataclass(frozen=True)
class Material:
    """What the report is made of."""

    document: Mapping[str, Any]
    """``Comparison.to_dict()``."""
    order: Sequence[str]
    """The models with a result, as the tables have them."""
    ranking: Sequence[str]
    """Those with the metric that decides, the best first."""
    against_best: Sequence[Difference]
    """Each model against the best of the others, or each piece against the one it is added to."""
    against_baseline: Sequence[Difference]
    models: Mapping[str, Recommender]
    listed: Mapping[str, NDArray[Any]]
    """Name → what stands in the first places of the lists that were measured, those made elsewhere too."""
    user_ids: NDArray[Any]
    """The users measured."""
    tables: tuple[Interactions, Interactions] | None
    """Training and test, where they are at hand."""
    command: str | None = None
    """What was typed."""
    failures: Mapping[str, str] = field(default_factory=dict)
