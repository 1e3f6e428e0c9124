"""``leakage_report``: whether a test part holds what training has seen already, or what lies before it."""

from typing import NamedTuple

import numpy as np

from ancf import _text
from ancf._pandas import pd
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError
from ancf.params import checks_call
from ancf.scoring.unknown_ids import refuse_other_table, used_ids


class LeakageReport(NamedTuple):
    """What a training and a test part share, and what the test part has beyond training. Prints as a table.

    Attributes
    ----------
    train_events, test_events, test_pairs, same_events, repeated_pairs, unknown_item_events, unknown_user_events : int
    before_cut, before_own_past, cut : int, or None without times

    Examples
    --------
    >>> import ancf
    >>> train = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"], time=[10, 20, 40])
    >>> test = ancf.Interactions.from_ids(user=[1, 2, 9], item=["a", "b", "c"], time=[50, 40, 30])
    >>> report = ancf.leakage_report(train, test)
    >>> report.same_events, report.repeated_pairs, report.before_cut
    (1, 2, 1)
    >>> report
    what                                                           events  of
    test events that are in the training part as well                   1   3
    test events before the last of training (1970-01-01 00:00:40)       1   3
    test events before the last one of their user in training           0   3
    test pairs of a user and an item that are in training as well       2   3
    test events of items that are not in training                       1   3
    test events of users that are not in training                       1   3
    """

    train_events: int
    test_events: int
    test_pairs: int
    """Pairs of a user and an item in the test part."""
    same_events: int
    """Test events with user, item and time of a training event; 0 without times, where every repeat would look so."""
    before_cut: int | None
    """Test events before the last training event; None without times."""
    before_own_past: int | None
    """Test events before the last training event of their user; None without times."""
    cut: int | None
    """The time of the last training event, in seconds since 1970; None without times."""
    repeated_pairs: int
    """Test pairs that the user has in training already: no leak, but no news either. Lists leave them out."""
    unknown_item_events: int
    """Test events of items that are not in training."""
    unknown_user_events: int
    """Test events of users that are not in training."""

    @property
    def leaks(self) -> list[str]:
        """What makes a measurement on these parts look better than it is, in words; empty where nothing does."""
        texts = []
        if self.same_events:
            texts.append(f"{self.same_events:,} of {self.test_events:,} test events are in the training part as well")
        if self.before_own_past:
            texts.append(f"{self.before_own_past:,} test events lie before what their users did in training")
        elif self.before_cut:
            texts.append(f"{self.before_cut:,} test events lie before the last of training: others' future is known")
        return texts

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as they are printed.

        Returns
        -------
        DataFrame ``what, events, of``

        Examples
        --------
        >>> import ancf
        >>> data = ancf.Interactions.from_ids(user=[1, 2], item=["a", "b"])
        >>> int(ancf.leakage_report(data, data).to_pandas()["events"].max())
        2
        """
        return pd.DataFrame(self._rows(), columns=["what", "events", "of"])

    def _rows(self) -> list[tuple[str, int, int]]:
        n = self.test_events
        rows = []
        if self.cut is not None:
            at = pd.Timestamp(self.cut, unit="s").strftime("%Y-%m-%d %H:%M:%S")
            rows = [
                ("test events that are in the training part as well", self.same_events, n),
                (f"test events before the last of training ({at})", self.before_cut or 0, n),
                ("test events before the last one of their user in training", self.before_own_past or 0, n),
            ]
        return [
            *rows,
            ("test pairs of a user and an item that are in training as well", self.repeated_pairs, self.test_pairs),
            ("test events of items that are not in training", self.unknown_item_events, n),
            ("test events of users that are not in training", self.unknown_user_events, n),
        ]

    def __repr__(self) -> str:
        return _text.format_table(["what", "events", "of"], self._rows())

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html(index=False)


@checks_call
def leakage_report(train: Interactions, test: Interactions) -> LeakageReport:
    """Look for test events that training has seen, or that lie before it.

    Parameters
    ----------
    train, test : Interactions
        The parts of a split, or two tables.

    Returns
    -------
    LeakageReport
        Counts by name, ``leaks`` in words, and a table to print. Without times in both parts nothing is said of them.

    Raises
    ------
    InvalidDataError
        If one is no ``Interactions`` or empty; if none of the test users (items) is known, but some are in another
        kind, such as ``7`` for ``"7"``.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=["a", "b", "b", "c"], time=[1, 2, 3, 4])
    >>> ancf.leakage_report(*ancf.time_split(data, (0.5, 0.5))).leaks
    []
    >>> ancf.leakage_report(*ancf.random_split(data, (0.5, 0.5), on_leak="ignore")).leaks
    ["1 test events lie before the last of training: others' future is known"]
    """
    for name, table in (("train", train), ("test", test)):
        if not isinstance(table, Interactions):
            raise InvalidDataError(f"leakage_report takes ancf.Interactions as {name}, not {type(table).__name__}.")
        if not len(table):
            raise InvalidDataError(f"leakage_report: {name} has no events. Give the two parts of a split.")
    users, items = used_ids(train, "user"), used_ids(train, "item")
    refuse_other_table(used_ids(test, "user"), users, "the users of the test table")
    refuse_other_table(used_ids(test, "item"), items, "the items of the test table")
    train = train.compact()
    user = users.positions(test.user_ids.values)[test.users]
    item = items.positions(test.item_ids.values)[test.items]
    known = (user >= 0) & (item >= 0)
    pairs = user * len(items) + item
    had = train.users.astype(np.int64) * len(items) + train.items
    repeated = known & np.isin(pairs, had)
    same = before_cut = before_own = cut = None
    if train.times is not None and test.times is not None:
        both = pd.MultiIndex.from_arrays([had, train.times])
        same = int((known & pd.MultiIndex.from_arrays([pairs, test.times]).isin(both)).sum())
        cut = int(train.times.max())
        before_cut = int((test.times < cut).sum())
        last = np.full(len(users), np.iinfo(np.int64).min)
        np.maximum.at(last, train.users, train.times)
        before_own = int(((user >= 0) & (test.times < last[user])).sum())
    first = np.append(True, (test.users[1:] != test.users[:-1]) | (test.items[1:] != test.items[:-1]))
    return LeakageReport(
        train_events=len(train),
        test_events=len(test),
        test_pairs=int(first.sum()),
        same_events=same or 0,
        before_cut=before_cut,
        before_own_past=before_own,
        cut=cut,
        repeated_pairs=int((repeated & first).sum()),
        unknown_item_events=int((item < 0).sum()),
        unknown_user_events=int((user < 0).sum()),
    )
