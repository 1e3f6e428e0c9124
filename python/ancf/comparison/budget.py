"""The same budget of tuning for every model whose options were left open."""

from typing import Any, NamedTuple

from ancf.comparison.pairs import decides, lower_is_better
from ancf.data.interactions import Interactions
from ancf.errors import InvalidParameterError
from ancf.models.base import Recommender


class Budget(NamedTuple):
    """How settings are searched for: on a validation part of the training table, never on the test part."""

    trials: int
    metrics: tuple[str, ...]
    """What is measured; the first that says how good this model is, is the goal."""
    filter_already_liked_items: bool
    validation: Interactions | None
    """Instead of a part of the training table."""
    random_state: int

    def options(self, model: Recommender, train: Interactions) -> dict[str, Any]:
        """The best options by name; empty for a model that is best as it is."""
        from ancf.tuning.search import tune

        errors_count = model._predicts_quantity()
        goals = [each for each in self.metrics if decides(each) and (errors_count or not lower_is_better(each))]
        if not goals:
            raise InvalidParameterError(
                f"tune: none of {', '.join(self.metrics)} says how good {type(model).__name__} is. Add ndcg@10."
            )
        found = tune(
            model,
            train,
            validation=self.validation,
            trials=self.trials,
            metric=goals[0],
            filter_already_liked_items=self.filter_already_liked_items,
            random_state=self.random_state,
        )
        return found.best_params
