"""The same budget of tuning for every model whose options were left open."""

from typing import Any, NamedTuple

from ancf.data.interactions import Interactions
from ancf.models.base import Recommender


class Budget(NamedTuple):
    """How settings are searched for: on a validation part of the training table, never on the test part."""

    trials: int
    metric: str
    filter_already_liked_items: bool
    validation: Interactions | None
    """Instead of a part of the training table."""
    random_state: int

    def options(self, model: Recommender, train: Interactions) -> dict[str, Any]:
        """The best options by name; empty for a model that is best as it is."""
        from ancf.tuning.search import tune

        found = tune(
            model,
            train,
            validation=self.validation,
            trials=self.trials,
            metric=self.metric,
            filter_already_liked_items=self.filter_already_liked_items,
            random_state=self.random_state,
        )
        return found.best_params
