"""``Evaluation``: what was measured, for each user and in the mean."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.errors import InvalidParameterError
from ancf.evaluation.candidates import CandidateSets
from ancf.evaluation.given_lists import ListReport
from ancf.evaluation.metrics import ERROR_METRICS
from ancf.evaluation.pair_errors import PairErrors
from ancf.evaluation.slices import Detail, Groups, Named, Of
from ancf.evaluation.user_groups import UserGroups

if TYPE_CHECKING:
    import pandas as pd


class Evaluation(Mapping[str, float]):
    """The metrics of one model on one test table: a mapping name → value that prints as a table.

    Attributes
    ----------
    per_user : dict, metric → float64 array with one value for each user of ``user_ids`` (not for coverage)
    user_ids : array, the users measured, ascending
    n_users : int
    n_unknown_users : int, test users that were not in training
    includes_strangers : bool, whether these were measured too (``on_unknown="popular"``), or left out
    n_unknown_items : int, test items that were not in training: wanted, but in nobody's list
    n_known_pairs : int, test pairs that the user had in training already and that therefore could not be recommended
    candidates : "all", or what the lists were restricted to: "99 sampled", "given"
    list_report : ListReport or None, what was found in lists made elsewhere
    pair_errors : PairErrors or None, what mse, rmse and mae are made of: sums over the pairs of each user
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
        includes_strangers: bool = False,
        n_unknown_items: int = 0,
        n_known_pairs: int = 0,
        candidates: CandidateSets | None = None,
        detail: Detail | None = None,
        pair_errors: PairErrors | None = None,
        notes: Sequence[str] = (),
        seconds: float = 0.0,
    ) -> None:
        self._values = values
        self.per_user = per_user
        self.user_ids = user_ids
        self.model = model
        self.n_unknown_users, self.n_unknown_items = n_unknown_users, n_unknown_items
        self.includes_strangers = includes_strangers
        self.n_known_pairs, self.seconds = n_known_pairs, seconds
        self.list_report: ListReport | None = None
        self.candidates = "all" if candidates is None else candidates.label
        self._notes = [*notes, *([] if candidates is None else candidates.notes)]
        self._detail = detail
        self.pair_errors = pair_errors

    @property
    def n_users(self) -> int:
        """The number of users measured."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """The number of items of the catalogue; 0 where it is not known."""
        return 0 if self._detail is None else len(self._detail.known.item_ids)

    @property
    def has_training(self) -> bool:
        """Whether it is known what the users had before, which ``by("history_length")`` needs."""
        return self._detail is not None and len(self._detail.known.seen.items) > 0

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def listed_items(self, k: int) -> NDArray[Any] | None:
        """What stands in the first places of all lists, one after the other.

        Parameters
        ----------
        k : int, places of each list, at most as many as were measured

        Returns
        -------
        array of item ids, or None where no list was measured, as with errors alone
            Without the places of a list made elsewhere that hold nothing known, or an item twice.

        Raises
        ------
        InvalidParameterError
            If ``k`` is no whole number above 0.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> ancf.evaluate(ancf.ItemKNN().fit(data), test, "hit@1").listed_items(1).tolist()
        ['c', 'b']
        """
        return None if self._detail is None else self._detail.listed_items(k)

    def stderr(self, name: str) -> float:
        """The standard error of a figure over users: their spread over √n.

        That of mse, rmse and mae, which are over all pairs, is that of a ratio of two sums over the users.

        Parameters
        ----------
        name : a metric of ``per_user``

        Returns
        -------
        float, NaN for fewer than two users

        Raises
        ------
        KeyError
            If it was not measured for each user.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> ancf.evaluate(ancf.ItemKNN().fit(data), test, "ndcg@2").stderr("ndcg@2")
        0.0
        """
        values = self.per_user[name]
        if name in ERROR_METRICS and self.pair_errors is not None:
            return self.pair_errors.stderr(name)
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else float("nan")

    def to_pandas(self, per_user: bool = False) -> "pd.DataFrame":
        """A table ``metric, value, stderr``; with ``per_user`` one row for each user and one column for each metric.

        Where the lists were restricted to candidates, the column ``candidates`` says to which.

        Parameters
        ----------
        per_user : bool

        Returns
        -------
        DataFrame

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])
        >>> result = ancf.evaluate(ancf.ItemKNN().fit(data), test, "hit@2")
        >>> result.to_pandas()["value"].tolist(), result.to_pandas(per_user=True)["user_id"].tolist()
        ([1.0], [1, 3])
        """
        import pandas as pd

        if per_user:
            return pd.DataFrame({"user_id": self.user_ids, **self.per_user})
        rows = [(name, value, self.stderr(name) if name in self.per_user else None) for name, value in self.items()]
        frame = pd.DataFrame(rows, columns=["metric", "value", "stderr"])
        return frame if self.candidates == "all" else frame.assign(candidates=self.candidates)

    def groups(self, what: Named, *, bins: int | None = None) -> UserGroups:
        """The users measured in groups, as ``by`` and the slices of ``compare`` have them.

        Parameters
        ----------
        what, bins : as for ``by``

        Returns
        -------
        UserGroups
            ``labels``, and ``groups``: for each of ``user_ids`` the place of its label.

        Raises
        ------
        InvalidParameterError
            If ``what`` is unknown, or nothing is known of the purchases of training.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 2, 3], item=["c", "a", "a"])
        >>> found = ancf.evaluate(ancf.ItemKNN().fit(data), test, "hit@1").groups("history_length")
        >>> found.labels, found.groups.tolist()
        (('1', '2-4'), [1, 1, 0])
        """
        if self._detail is None:
            raise InvalidParameterError("groups: they are of what ancf.evaluate measures.")
        return self._detail.groups(what, bins)

    def by(self, what: Groups, *, of: Of = "user", bins: int | None = None) -> "pd.DataFrame":
        """The figures of groups of users, or of groups of items.

        Parameters
        ----------
        what : "history_length", "popularity", a mapping or a Series
            "history_length" groups the users by how many items they had in training: none ("new"), 1, 2 to 4, 5 to 9,
            10 to 19, 20 to 49, and more. "popularity" groups them by how many users on average had what they bought in
            the test, in thirds. A mapping or Series has a label for each user, or with ``of="item"`` one for each item,
            such as its category. What it does not name, or names None, is in the group None.
        of : "user" or "item"
            With "item", a group's figures are those of its items alone: how well purchases of them were found, for the
            users who bought any. The lists stay the same. Metrics of hits alone, so no coverage or novelty.
        bins : int, at least 2, optional
            With the two names: so many groups of about the same size instead.

        Returns
        -------
        pandas.DataFrame
            One row for each group and metric: ``group, metric, n, mean, low, high``. ``n`` counts users, and low and
            high are the ends of a 95 % interval, mean ± 1.96 standard errors.

        Raises
        ------
        InvalidParameterError
            If ``what`` is unknown, or says nothing of any user or item measured.

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
        >>> test = ancf.Interactions.from_ids(user=[1, 2, 3], item=["c", "a", "a"])
        >>> result = ancf.evaluate(ancf.ItemKNN().fit(data), test, "hit@1")
        >>> result.by("history_length", bins=2)[["group", "n", "mean"]].to_dict("records")
        [{'group': '1', 'n': 1, 'mean': 0.0}, {'group': '2', 'n': 2, 'mean': 1.0}]
        """
        import pandas as pd

        if self._detail is None:
            raise InvalidParameterError("by: groups are of what ancf.evaluate measures.")
        rows = self._detail.slices(what, of, bins, self.per_user)
        return pd.DataFrame(rows, columns=["group", "metric", "n", "mean", "low", "high"])

    def __repr__(self) -> str:
        among = "" if self.candidates == "all" else f" ({self.candidates})"
        rows = [[f"{name}{among}", f"{value:.4f}", self._spread(name)] for name, value in self.items()]
        notes = [f"{self.n_users:,} users"]
        if self.n_unknown_users:
            notes.append(
                f"{self.n_unknown_users:,} of them were not in training"
                if self.includes_strangers
                else f"{self.n_unknown_users:,} more were not in training and are left out"
            )
        if self.n_unknown_items:
            notes.append(f"{self.n_unknown_items:,} test items were not in training")
        if self.n_known_pairs:
            notes.append(f"{self.n_known_pairs:,} test pairs known from training do not count")
        if self.candidates.endswith("sampled"):
            what = self.candidates.removesuffix(" sampled")
            notes.append(
                f"only {what} sampled items stand against what was bought: no estimate of figures over all items"
            )
        notes += self._notes
        notes += [] if self._detail is None else self._detail.notes()
        if self.list_report is not None:
            notes += self.list_report.notes()
        head = f"{self.model}: " if self.model else ""
        return f"{head}{'; '.join(notes)}\n{_text.format_table(['metric', 'value', '±'], rows)}"

    def _spread(self, name: str) -> str:
        return f"{1.96 * self.stderr(name):.4f}" if name in self.per_user and self.n_users > 1 else ""
