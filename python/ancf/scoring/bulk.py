"""Everybody's lists into a file, a chunk of users at a time: memory does not depend on the number of users.

The rows go into a hidden temporary file in the same folder, which is synced and renamed when it is complete, so a file
of the name asked for is always whole; an error or Ctrl-C removes the temporary one, and after ``kill -9`` the next call
for the same file does. With ``resume=True`` each chunk becomes a part of its own in a hidden folder, which survives
interruption and even ``kill -9``; the next call with ``resume=True`` goes on after the last whole part, provided that
model, N and filters are the same (a hash is kept with them).

Parquet needs pyarrow; .csv and .jsonl do not, nor do these with .gz. The rows stand in the order of the users' ids,
best item first, with the columns ``user_id, item_id, score, rank, source``, and ``name``, ``category`` and ``reasons``
where they are asked for. The chunks do not change a bit of it.
"""

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ancf.atomic_file import atomic_write, replaced_file
from ancf.checks import check_flag, check_integer
from ancf.errors import InvalidParameterError
from ancf.scoring import scorer_arrays
from ancf.scoring.explain import top_reasons
from ancf.scoring.filters import Requested
from ancf.scoring.limits import check_memory, check_n
from ancf.scoring.list_request import ListRequest
from ancf.scoring.lists import everybody, find_known_users
from ancf.scoring.results import Recommendations
from ancf.scoring.rules import Rules, check_rules
from ancf.scoring.scorer import Scorer
from ancf.scoring.sinks import OPEN_FILE_SINKS, SINKS, Columns, Reasons, Sink, count_rows, ending, require_pyarrow

# Rows and users of one chunk at most: some tens of megabytes with their raw ids, and long enough for the ranker.
_CHUNK_ROWS = 1 << 18
_CHUNK_USERS = 8192
# With reasons a row takes so many times the memory of one without.
_REASONS_PER_ROW = 8


class StreamResult(NamedTuple):
    """What was written."""

    path: Path
    n_users: int
    n_rows: int
    resumed_users: int = 0

    def __repr__(self) -> str:
        resumed = f" ({self.resumed_users:,} of them from before)" if self.resumed_users else ""
        return f"{self.n_rows:,} recommendations for {self.n_users:,} users{resumed} in {self.path}"


class _Chunks:
    """Everybody's lists, a chunk of users at a time."""

    def __init__(
        self,
        scorer: Scorer,
        N: int,
        *,
        filter_already_liked_items: bool,
        users: Any,
        items: Any,
        filter_items: Any,
        names: bool,
        explain: int,
        num_threads: int | None,
        rules: Rules | None = None,
        shown: Any = None,
    ) -> None:
        check_rules(rules)
        check_flag("filter_already_liked_items", filter_already_liked_items)
        self.scorer, self.N, self.num_threads = scorer, check_n(N), num_threads
        self.filter_seen = bool(filter_already_liked_items)
        self.columns = _columns(scorer, names, explain)
        rows = everybody(scorer) if users is None else find_known_users(scorer, users)
        self.rows = np.arange(len(scorer.user_ids)) if rows is None else rows
        self.n_users, width = len(self.rows), min(self.N, len(scorer.item_ids))
        fitting = _CHUNK_ROWS // width // (_REASONS_PER_ROW if explain else 1)
        self.size = max(1, min(_CHUNK_USERS, fitting))
        check_memory(self.size, width)
        requested = Requested(scorer.user_ids.values[self.rows], scorer.user_ids)
        self.rules = rules
        self.request = ListRequest.of(scorer, self.N, items, filter_items, rules, shown, requested, num_threads)

    @property
    def starts(self) -> range:
        """The first user of each chunk."""
        return range(0, self.n_users, self.size)

    def lists(self, start: int) -> tuple[Recommendations, Reasons | None]:
        """Those of the chunk that starts there, and the reasons of its rows where they are asked for."""
        which = np.arange(start, min(start + self.size, self.n_users))
        rows = self.rows[which]
        top = self.request.rows(which).known(rows, self.filter_seen)
        lists = self.scorer.recommendations(self.scorer.user_ids.values[rows], top, "model", False)
        reasons: Reasons | None = None
        if self.columns.explain:
            reasons = top_reasons(self.scorer, rows, top, self.columns.explain)
        return lists, reasons

    def fingerprint(self, suffix: str) -> str:
        """A hash of what decides the rows: the model's arrays, the request, the chunks."""
        digest = hashlib.blake2b(digest_size=16)
        arrays, meta = scorer_arrays.to_arrays(self.scorer)
        request = [self.scorer.model, self.N, self.size, self.filter_seen, suffix, self.columns.explain]
        request += [repr(self.rules), None if self.scorer.past is None else self.scorer.past.now]
        digest.update(json.dumps([request, meta], sort_keys=True).encode())
        named = {**arrays, **self.request.arrays(), "rows": self.rows}
        digest.update(",".join([*self.columns.of_items, *sorted(named)]).encode())
        for name in sorted(named):
            digest.update(np.ascontiguousarray(named[name]).data)
        return digest.hexdigest()


def _columns(scorer: Scorer, names: bool, explain: int) -> Columns:
    """What ``names=`` and ``explain=`` add to a file."""
    check_flag("names", names)
    check_integer("explain", explain, 0, 1000)
    if names and scorer.item_names is None and scorer.item_categories is None:
        raise InvalidParameterError(
            "names=True: this model knows neither names nor categories of its items. Read the training table with a "
            "column of names, or leave names= out."
        )
    of_items = (scorer.item_names, scorer.item_categories) if names else (None, None)
    return Columns(*of_items, int(explain))


def write_lists(
    scorer: Scorer, N: int, out: Path, *, resume: bool, show_progress: bool | None, **request: Any
) -> StreamResult:
    """See ``Recommender.recommend_all``; ``request`` is what says which lists and which columns."""
    check_flag("resume", resume)
    if show_progress is not None:
        check_flag("show_progress", show_progress)
    if ending(out) not in SINKS:
        raise InvalidParameterError(f"out is {str(out)!r}; its name must end in {', '.join(SINKS)}.")
    if not out.absolute().parent.is_dir():
        raise InvalidParameterError(f"out is {str(out)!r}; the folder {out.absolute().parent} does not exist.")
    if resume and replaced_file(out) is None:
        raise InvalidParameterError(f"resume=True needs a file to go on with; out={str(out)!r} is a device or a pipe.")
    if ending(out) == ".parquet":
        require_pyarrow()
    chunks = _Chunks(scorer, N, **request)
    write = _write_resumable if resume else _write_direct
    with _progress(chunks.n_users, show_progress) as advance:
        return write(out, SINKS[ending(out)], chunks, advance)


def write_lists_to(
    scorer: Scorer,
    file: IO[bytes],
    output_format: str,
    N: int = 10,
    *,
    filter_already_liked_items: bool = True,
    users: Any = None,
    items: Any = None,
    filter_items: Any = None,
    names: bool = False,
    explain: int = 0,
    num_threads: int | None = None,
    rules: Rules | None = None,
    shown: Any = None,
) -> int:
    """Everybody's lists into an open binary file (a pipe, a socket), a chunk of users at a time.

    Parameters
    ----------
    output_format : "csv", "jsonl", "parquet", "json" or "table"
        The last two are one JSON list, and columns for people.

    The other parameters are those of ``Recommender.recommend_all``.

    Returns
    -------
    int, the number of rows
    """
    if output_format not in OPEN_FILE_SINKS:
        raise InvalidParameterError(
            f"output_format is {output_format!r}; it must be one of {', '.join(OPEN_FILE_SINKS)}."
        )
    if output_format == "parquet":
        require_pyarrow()
    chunks = _Chunks(
        scorer,
        N,
        filter_already_liked_items=filter_already_liked_items,
        users=users,
        items=items,
        filter_items=filter_items,
        names=names,
        explain=explain,
        num_threads=num_threads,
        rules=rules,
        shown=shown,
    )
    rows = OPEN_FILE_SINKS[output_format](file, scorer, True, chunks.columns)
    return _write_chunks(rows, chunks, lambda users: None)


def _write_chunks(rows: Sink, chunks: _Chunks, advance: Callable[[int], None]) -> int:
    """All lists one after the other; the number of rows."""
    written = 0
    for start in chunks.starts:
        part, reasons = chunks.lists(start)
        rows.write(part, reasons)
        written += part.n_rows
        advance(len(part.counts))
    rows.close()
    return written


def _write_direct(out: Path, sink: type[Sink], chunks: _Chunks, advance: Callable[[int], None]) -> StreamResult:
    with atomic_write(out) as file:
        written = _write_chunks(sink(file, chunks.scorer, True, chunks.columns), chunks, advance)
    return StreamResult(out, chunks.n_users, written)


def _write_resumable(out: Path, sink: type[Sink], chunks: _Chunks, advance: Callable[[int], None]) -> StreamResult:
    folder = out.absolute().parent / f".{out.name}.parts"
    folder.mkdir(exist_ok=True)
    note = folder / "job.json"
    fingerprint = chunks.fingerprint(ending(out))
    if note.exists() and (found := _read_fingerprint(note)) != fingerprint:
        raise InvalidParameterError(
            f"resume=True: the parts in {folder} belong to another job (other model, N or filters: {found[:8]}, not "
            f"{fingerprint[:8]}). Remove the folder to start anew, or choose another out=."
        )
    with atomic_write(note) as file:
        file.write(json.dumps({"job": fingerprint}).encode())
    starts = chunks.starts
    paths = [folder / f"{number:08d}{ending(out)}" for number in range(len(starts))]
    resumed = 0
    try:
        for number, (start, path) in enumerate(zip(starts, paths, strict=True)):
            users = min(starts.step, starts.stop - start)
            if path.exists():
                resumed += users
            else:
                part, reasons = chunks.lists(start)
                with atomic_write(path) as file:
                    rows = sink(file, chunks.scorer, number == 0, chunks.columns)
                    rows.write(part, reasons)
                    rows.close()
            advance(users)
        with atomic_write(out) as file:
            sink.join(paths, file, chunks.scorer, chunks.columns)
    except BaseException as error:
        error.add_note(f"Finished parts are kept in {folder}; call again with resume=True to go on.")
        raise
    written = count_rows(out)
    shutil.rmtree(folder)
    return StreamResult(out, chunks.n_users, written, resumed)


def _read_fingerprint(note: Path) -> str:
    try:
        return str(json.loads(note.read_text())["job"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


@contextlib.contextmanager
def _progress(total: int, show: bool | None) -> Iterator[Callable[[int], None]]:
    """A bar with the time left on stderr, or nothing."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda users: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("users", total=total)
        yield lambda users: bar.advance(task, users)
