"""What a checkpoint may go on with."""

from ancf.checkpoints import Fit
from ancf.data.interactions import Interactions
from ancf.models.base import Recommender


def fit_of(model: Recommender, data: Interactions, validation: Interactions | None) -> Fit:
    """A fit of this model: what it ends in follows from the options and the tables, and the seed where there is one."""
    tables = {"training table": data.fingerprint(), "split of the training table": str(data.split_by)}
    tables["normalization of the training table"] = data.normalize
    if validation is not None:
        tables["validation table"] = validation.fingerprint()
    return Fit(type(model).__name__, model.get_params(), tables)
