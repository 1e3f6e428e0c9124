"""``Evaluation``: what was measured, for each user and in the mean."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf import _text

if TYPE_CHECKING:
    import pandas as pd

    from ancf.evaluation.given_lists import ListReport


class Evaluation(Mapping[str, float]):
    """The metrics of one model on one test table: a mapping name → value that prints as a table.

    Attributes
    ----------
    per_user : dict, metric → float64 array with one value for each user of ``user_ids`` (not for coverage)
    user_ids : array, the users measured, ascending
    n_users : int
    n_unknown_users : int, test users that were not in training and were left out
    n_unknown_items : int, test items that were not in training: wanted, but in nobody's list
    n_known_pairs : int, test pairs that the user had in training already and that therefore could not be recommended
    list_report : ListReport or None, what was found in lists made elsewhere
    seconds : float, the time of ranking and measuring

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
    >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
    >>> result = ancf.evaluate(ancf.ItemKNN().fit(data), test, metrics=["recall@1", "ndcg@1"])
    >>> result["recall@1"], result.per_user["ndcg@1"].tolist()
    (1.0, [1.0, 1.0])
    """

    def __init__(
        self,
        values: dict[str, float],
        per_user: dict[str, NDArray[np.float64]],
        user_ids: NDArray[Any],
        *,
        model: str = "",
        n_unknown_users: int = 0,
        n_unknown_items: int = 0,
        n_known_pairs: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self._values = values
        self.per_user = per_user
        self.user_ids = user_ids
        self.model = model
        self.n_unknown_users, self.n_unknown_items = n_unknown_users, n_unknown_items
        self.n_known_pairs, self.seconds = n_known_pairs, seconds
        self.list_report: ListReport | None = None

    @property
    def n_users(self) -> int:
        """The number of users measured."""
        return len(self.user_ids)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def stderr(self, name: str) -> float:
        """The standard error of the mean over users: their spread over √n."""
        values = self.per_user[name]
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else float("nan")

    def to_pandas(self, per_user: bool = False) -> "pd.DataFrame":
        """A table ``metric, value, stderr``; with ``per_user`` one row for each user and one column for each metric."""
        import pandas as pd

        if per_user:
            return pd.DataFrame({"user_id": self.user_ids, **self.per_user})
        rows = [(name, value, self.stderr(name) if name in self.per_user else None) for name, value in self.items()]
        return pd.DataFrame(rows, columns=["metric", "value", "stderr"])

    def __repr__(self) -> str:
        rows = [[name, f"{value:.4f}", self._spread(name)] for name, value in self.items()]
        notes = [f"{self.n_users:,} users"]
        if self.n_unknown_users:
            notes.append(f"{self.n_unknown_users:,} more were not in training and are left out")
        if self.n_unknown_items:
            notes.append(f"{self.n_unknown_items:,} test items were not in training")
        if self.n_known_pairs:
            notes.append(f"{self.n_known_pairs:,} test pairs known from training do not count")
        if self.list_report is not None:
            notes += self.list_report.notes()
        head = f"{self.model}: " if self.model else ""
        return f"{head}{'; '.join(notes)}\n{_text.format_table(['metric', 'value', '±'], rows)}"

    def _spread(self, name: str) -> str:
        return f"{1.96 * self.stderr(name):.4f}" if name in self.per_user and self.n_users > 1 else ""
