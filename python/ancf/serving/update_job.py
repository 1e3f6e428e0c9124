"""An update: what the journal has beyond a model goes into its file, in a process of its own.

The model is marked with the last event that it has learned (``counting.mark_of``). Its file is replaced in one step, so
it has both or neither: whatever is killed when, each event counts once, in the model or on top of it. What came of an
update is a note in the journal, which every worker reads.
"""

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.rejections import Rejections
from ancf.errors import AncfError, InvalidDataError
from ancf.models.base import Recommender
from ancf.scoring.scorer import Scorer
from ancf.serving import log
from ancf.serving.counting import Counting, mark_of
from ancf.serving.journal import Journal
from ancf.serving.model_reading import version_of
from ancf.serving.served_model import ServedModel
from ancf.serving.writer import open_journal

State = Literal["running", "ok", "unchanged", "failed", "interrupted"]
_NICENESS = 10
"""Requests go first where processors are short."""
_MOST_TRIES = 3
_INT64 = 2**63


class Job(NamedTuple):
    """What an update is made of; everything can be JSON."""

    path: str
    version: str
    """The version of the model that answers: an update of another file would undo what somebody put in place."""
    variant: str
    journal: str
    event_weights: dict[str, float]


class Outcome(NamedTuple):
    """How an update stands, as it is noted in the journal."""

    state: State
    started: float
    """Seconds since 1970."""
    finished: float | None = None
    events: int = 0
    """So many were taken in."""
    model_version: str | None = None
    error: str | None = None
    warning: str | None = None

    def written(self) -> str:
        """As text."""
        return json.dumps(self._asdict())


def note_of(variant: str) -> str:
    """What the note about the updates of a model is called."""
    return f"update {variant}"


def read_outcome(text: str | None) -> Outcome | None:
    """What a note says; None where there is none."""
    return None if text is None else Outcome(**json.loads(text))


def check_updatable(model: Recommender) -> None:
    """Look whether a model can be updated.

    Raises
    ------
    InvalidCallError, InvalidDataError
        If it cannot; says what can.
    """
    scorer = model._fitted()
    model._check_update(scorer)
    if scorer.purchases is None:
        raise InvalidDataError(
            f"this {scorer.model} was loaded from a file without the purchases that it learned from, so nothing can be "
            "added to them. Train it again with fit (or ancf train), and save it."
        )


def run(job: Job) -> Outcome:
    """Update a model file from the journal, and note what came of it."""
    journal = open_journal(job.journal)
    started = time.time()
    note = note_of(job.variant)
    journal.write_note(note, Outcome("running", started).written())
    try:
        outcome = _update(job, journal, started)
    except (AncfError, OSError, MemoryError) as error:
        outcome = Outcome("failed", started, error=str(error) or type(error).__name__)
    outcome = outcome._replace(finished=time.time())
    journal.write_note(note, outcome.written())
    journal.close()
    return outcome


def _update(job: Job, journal: Journal, started: float) -> Outcome:
    path = Path(job.path).resolve()
    count = partial(Counting.of, chosen=job.event_weights, journal=journal.name)
    for _ in range(_MOST_TRIES):
        served = ServedModel.load(path, job.variant, count)
        _check_version(served.version, job)
        check_updatable(served.model)
        found = new_events(served.scorer, served.counting, journal)
        if not len(found.data):
            return Outcome("unchanged", started, model_version=served.version)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            served.model.partial_fit(found.data)
        # Who was forgotten meanwhile is not learned.
        if journal.forgotten().isdisjoint(found.users):
            break
    else:
        raise InvalidDataError("users were forgotten again and again meanwhile. Update later.")
    beside = path.with_name(f".{path.name}.updating")
    try:
        served.model.save(beside)
        version = ServedModel.load(beside, job.variant, count).version
        _take_over_rights(beside, path)
        _check_version(version_of(path), job)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    said = " ".join(str(each.message) for each in caught)
    return Outcome("ok", started, events=found.n_events, model_version=version, warning=said or None)


def _check_version(found: str, job: Job) -> None:
    if found != job.version:
        raise InvalidDataError(
            f"{job.path}: it is not the model {job.version} that was to be updated any more, but {found}. Update again "
            "when the server has taken it."
        )


def _take_over_rights(new: Path, old: Path) -> None:
    found = old.stat()
    shutil.copymode(old, new)
    if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()) and os.getuid() == 0:
        os.chown(new, found.st_uid, found.st_gid)


class NewEvents(NamedTuple):
    """What a model has not learned yet of a journal."""

    data: Interactions
    n_events: int
    users: set[str]


def new_events(scorer: Scorer, counting: Counting, journal: Journal) -> NewEvents:
    """The events that count on top of a model and that its training table would have, as a table marked with the last.

    Left out is what a model cannot learn, and what goes on counting by itself: types that were not in the training
    table, ids of another kind than the table's, and users who are forgotten.

    Raises
    ------
    InvalidDataError
        If the model has learned events that the journal does not have.
    """
    last = journal.newest()
    if counting.seq is not None and counting.seq > last:
        raise InvalidDataError(
            f"the model has learned this journal up to event {counting.seq}, and its last one is {last}. If the "
            "journal was brought back from a copy, train the model anew."
        )
    users: list[Any] = []
    items: list[Any] = []
    weights: list[float] = []
    had: list[bool] = []
    times: list[int] = []
    rejects: list[tuple[Any, Any, int, bool]] = []
    names: set[str] = set()
    for _, user_id, item_id, event, quantity, at in journal.between(counting.seq or 0, last):
        weighed = counting.weights.get(event)
        if weighed is None or not (weighed.weight or weighed.rejects) or not weighed.trained:
            continue
        user, item = scorer.user_ids.parse(user_id), scorer.item_ids.parse(item_id)
        if not (_can_be(user, scorer.user_ids) and _can_be(item, scorer.item_ids)):
            continue
        if weighed.rejects and not (counting.until is not None and at <= counting.until):
            rejects.append((user, item, at, weighed.rejects == "dislike"))
            names.add(user_id)
        if not weighed.weight:
            continue
        users.append(user)
        items.append(item)
        weights.append(weighed.weight * quantity)
        had.append(weighed.had != 0)
        times.append(at)
        names.add(user_id)
    data, n = _table(scorer, counting, (users, items, weights, had, times), mark_of(journal.name, last))
    data.rejections = _rejections(scorer, rejects)
    return NewEvents(data, n + (0 if data.rejections is None else len(data.rejections)), names)


def _rejections(scorer: Scorer, rejects: list[tuple[Any, Any, int, bool]]) -> Rejections | None:
    if not rejects:
        return None
    users, items, times, dislikes = zip(*rejects, strict=True)
    user_ids, user_codes = _factorized(list(users), scorer.user_ids)
    item_ids, item_codes = _factorized(list(items), scorer.item_ids)
    timed = scorer.purchases is not None and scorer.purchases.times is not None
    at = np.array(times, np.int64) if timed else None
    return Rejections.of(user_ids, item_ids, user_codes, item_codes, at, np.array(dislikes, bool))


def _table(
    scorer: Scorer,
    counting: Counting,
    columns: tuple[list[Any], list[Any], list[float], list[bool], list[int]],
    mark: str,
) -> tuple[Interactions, int]:
    users, items, weights, had, times = columns
    at, weighed = np.array(times, np.int64), np.array(weights, np.float64)
    new = np.ones(len(users), bool)
    if counting.until is not None and len(users):
        new = ~((at <= counting.until) & _had(scorer, users, items))
    kept = np.flatnonzero(new).tolist()
    user_ids, user_codes = _factorized([users[each] for each in kept], scorer.user_ids)
    item_ids, item_codes = _factorized([items[each] for each in kept], scorer.item_ids)
    timed = scorer.purchases is not None and scorer.purchases.times is not None
    is_had = None if all(had) else np.array(had)[new]
    columns_kept = (user_codes, item_codes, weighed[new], at[new] if timed else None)
    data = Interactions(user_ids, item_ids, *columns_kept, had=is_had)
    data.event_weights = None if scorer.event_weights is None else dict(scorer.event_weights)
    data.mark = mark
    return data, len(kept)


def _factorized(ids: list[Any], known: IdMap) -> tuple[IdMap, NDArray[np.int32]]:
    return IdMap.factorize(ids) if ids else (known, np.empty(0, np.int32))


def _can_be(one: Any, ids: IdMap) -> bool:
    """Whether an id may stand in a table beside those of a model; -1 is the sign of a missing one there."""
    if ids.kind == "int":
        return isinstance(one, int) and one != -1 and -_INT64 <= one < _INT64
    return ids.kind == "str" or not isinstance(one, str)


def _had(scorer: Scorer, users: list[Any], items: list[Any]) -> NDArray[np.bool_]:
    """Which of these pairs the model knows."""
    rows, at = scorer.user_ids.positions(users), scorer.item_ids.positions(items)
    seen, n_items = scorer.seen, len(scorer.item_ids)
    known = np.repeat(np.arange(seen.n_rows), np.diff(seen.indptr)) * n_items + seen.items
    wanted = rows * n_items + at
    place = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    found = known[place] == wanted if len(known) else np.zeros(len(users), bool)
    return np.asarray(found & (rows >= 0) & (at >= 0))


def work() -> None:
    """A process's whole life: the job comes over stdin, and what came of it is noted and logged."""
    os.nice(_NICENESS)
    given: Mapping[str, Any] = json.loads(sys.stdin.readline())
    try:
        outcome = run(Job(**given))
    except AncfError as error:
        log.write("model not updated", variant=given["variant"], error=str(error))
        sys.exit(1)
    if outcome.warning:
        log.write("update", variant=given["variant"], warning=outcome.warning)
    if outcome.state == "failed":
        log.write("model not updated", variant=given["variant"], error=outcome.error)
        sys.exit(1)
    log.write("model updated", variant=given["variant"], events=outcome.events, model_version=outcome.model_version)
