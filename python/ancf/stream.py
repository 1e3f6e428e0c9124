"""Everybody's lists into a file, a chunk of users at a time: memory does not depend on the number of users.

The rows go into a hidden temporary file in the same folder, which is synced and renamed when it is complete, so a file
of the name asked for is always whole; an error or Ctrl-C removes the temporary one, and after ``kill -9`` the next call
for the same file does. With ``resume=True`` each chunk
becomes a part of its own in a hidden folder, which survives interruption and even ``kill -9``; the next call with
``resume=True`` goes on after the last whole part, provided that model, N and filters are the same (a hash is kept with
them).

Parquet needs pyarrow; .csv and .jsonl do not. The rows stand in the order of the users' ids, best item first, with the
columns ``user_id, item_id, score, rank, source``. The chunks do not change a bit of it.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ancf.data.ids import IdMap
from ancf.errors import InvalidParameterError, MissingExtraError
from ancf.infer import Filters, Recommendations, arrow_column
from ancf.models._asking import check_memory, check_n

if TYPE_CHECKING:
    from ancf.models.base import Recommender

# Rows and users of one chunk at most: some tens of megabytes with their raw ids, and long enough for the ranker.
_CHUNK_ROWS = 1 << 18
_CHUNK_USERS = 8192


class StreamResult(NamedTuple):
    """What was written."""

    path: Path
    n_users: int
    n_rows: int
    resumed_users: int = 0

    def __repr__(self) -> str:
        resumed = f" ({self.resumed_users:,} of them from before)" if self.resumed_users else ""
        return f"{self.n_rows:,} recommendations for {self.n_users:,} users{resumed} in {self.path}"


def stream_all(
    model: "Recommender",
    N: int,
    out: Path,
    filter_already_liked_items: bool,
    items: Any,
    filter_items: Any,
    resume: bool,
    show_progress: bool | None,
) -> StreamResult:
    """See ``Recommender.recommend_all``."""
    if out.suffix not in _SINKS:
        raise InvalidParameterError(f"out is {str(out)!r}; its name must end in {', '.join(_SINKS)}.")
    if not out.absolute().parent.is_dir():
        raise InvalidParameterError(f"out is {str(out)!r}; the folder {out.absolute().parent} does not exist.")
    sink = _SINKS[out.suffix]
    if out.suffix == ".parquet":
        _pyarrow()
    starts, lists = _chunks(model, N, filter_already_liked_items, items, filter_items)
    with _progress(starts.stop, show_progress) as advance:
        if not resume:
            result = _straight(out, sink, model, starts, lists, advance)
        else:
            filters = Filters.of(items, filter_items, model.item_ids_, model.user_ids_.values)
            job = _fingerprint(model, N, starts.step, bool(filter_already_liked_items), filters, out.suffix)
            result = _by_parts(out, sink, model, starts, lists, advance, job)
    return result


def stream_into(
    model: "Recommender",
    file: IO[bytes],
    form: str,
    N: int = 10,
    *,
    filter_already_liked_items: bool = True,
    items: Any = None,
    filter_items: Any = None,
) -> int:
    """Everybody's lists into an open binary file (a pipe, a socket), a chunk of users at a time.

    Parameters
    ----------
    form : "csv", "jsonl", "parquet", "json" or "table"
        The last two are one JSON list, and columns for people.

    Returns
    -------
    int, the number of rows
    """
    sink = {suffix.lstrip("."): each for suffix, each in _SINKS.items()} | {"json": _Json, "table": _Table}
    if form not in sink:
        raise InvalidParameterError(f"form is {form!r}; it must be one of {', '.join(sink)}.")
    if form == "parquet":
        _pyarrow()
    starts, lists = _chunks(model, check_n(N), filter_already_liked_items, items, filter_items)
    rows = sink[form](file, model, True)
    written = 0
    for start in starts:
        part = lists(start)
        rows.write(part)
        written += part.n_rows
    rows.close()
    return written


def _chunks(
    model: "Recommender", N: int, filter_seen: bool, items: Any, filter_items: Any
) -> tuple[range, Callable[[int], Recommendations]]:
    """Where each chunk of users starts, and the lists of the chunk that starts there."""
    ranker = model._fitted()
    n_users, width = len(model.user_ids_), min(N, len(model.item_ids_))
    size = max(1, min(_CHUNK_USERS, _CHUNK_ROWS // width))
    check_memory(size, width)
    filters = Filters.of(items, filter_items, model.item_ids_, model.user_ids_.values)

    def lists(start: int) -> Recommendations:
        rows = np.arange(start, min(start + size, n_users), dtype=np.int64)
        top = ranker.top_n(
            rows,
            N,
            filter_seen=bool(filter_seen),
            num_threads=model.num_threads,
            **filters.rows(rows).keywords(),
        )
        return model._answer(model.user_ids_.values[rows], top, "model", False)

    return range(0, n_users, size), lists


class _Sink:
    """Rows of one format into an open binary file."""

    def __init__(self, file: IO[bytes], model: "Recommender", first: bool) -> None:
        self.file, self.first = file, first

    def write(self, lists: Recommendations) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write what stands at the end."""

    @classmethod
    def join(cls, parts: list[Path], file: IO[bytes], model: "Recommender") -> None:
        """The parts, one after the other."""
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)


class _Text(_Sink):
    """Lines of text; each id is written out once (an item for all lists, a user for the whole list), each score as the
    shortest decimal that is the same float32."""

    header = b""
    line = ""

    def __init__(self, file: IO[bytes], model: "Recommender", first: bool) -> None:
        super().__init__(file, model, first)
        self.items = [self.written(each) for each in model.item_ids_.values.tolist()]
        if first:
            file.write(self.header)

    @staticmethod
    def written(raw: Any) -> str:
        """An id as it stands in the file."""
        raise NotImplementedError

    def write(self, lists: Recommendations) -> None:
        users, positions, scores, counts = lists.parts()
        line, items = self.line, self.items
        lines: list[str] = []
        for user, row, texts, count in zip(
            map(self.written, users.tolist()),
            positions.tolist(),
            scores.astype(np.str_).tolist(),
            counts.tolist(),
            strict=True,
        ):
            for rank in range(count):
                lines.append(line % (user, items[row[rank]], texts[rank], rank + 1))
        self.file.write("".join(lines).encode("utf-8", "surrogatepass"))


class _Csv(_Text):
    header = b"user_id,item_id,score,rank,source\n"
    line = "%s,%s,%s,%d,model\n"

    @staticmethod
    def written(raw: Any) -> str:
        text = str(raw)
        quoted = any(each in text for each in ',"\r\n') or text != text.strip()
        return '"' + text.replace('"', '""') + '"' if quoted else text


class _Jsonl(_Text):
    line = '{"user_id": %s, "item_id": %s, "score": %s, "rank": %d, "source": "model"}\n'

    @staticmethod
    def written(raw: Any) -> str:
        return json.dumps(raw if isinstance(raw, (int, str)) else str(raw), ensure_ascii=False)


class _Json(_Text):
    """One list of all rows."""

    header = b"["
    line = "%s" + _Jsonl.line.rstrip("\n")

    written = staticmethod(_Jsonl.written)

    def write(self, lists: Recommendations) -> None:
        users, positions, scores, counts = lists.parts()
        for user, row, texts, count in zip(
            map(self.written, users.tolist()),
            positions.tolist(),
            scores.astype(np.str_).tolist(),
            counts.tolist(),
            strict=True,
        ):
            for rank in range(count):
                before = "\n" if self.first else ",\n"
                self.first = False
                line = self.line % (before, user, self.items[row[rank]], texts[rank], rank + 1)
                self.file.write(line.encode("utf-8", "surrogatepass"))

    def close(self) -> None:
        self.file.write(b"\n]\n")


class _Table(_Text):
    """Columns as wide as the widest id."""

    def __init__(self, file: IO[bytes], model: "Recommender", first: bool) -> None:
        users = max((len(self.written(each)) for each in model.user_ids_.values.tolist()), default=0)
        items = max((len(self.written(each)) for each in model.item_ids_.values.tolist()), default=0)
        users, items = max(users, len("user_id")), max(items, len("item_id"))
        self.header = f"{'user_id':{users}}  {'item_id':{items}}  {'score':>12}  rank  source\n".encode()
        self.line = f"%-{users}s  %-{items}s  %12s  %4d  model\n"
        super().__init__(file, model, first)

    @staticmethod
    def written(raw: Any) -> str:
        return "".join(letter if letter.isprintable() else "�" for letter in str(raw))


class _Parquet(_Sink):
    def __init__(self, file: IO[bytes], model: "Recommender", first: bool) -> None:
        super().__init__(file, model, first)
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"int": pa.int64(), "bytes": pa.binary()}
        kind: Callable[[IdMap], Any] = lambda ids: types.get(ids.kind, pa.string())  # noqa: E731
        self.schema = pa.schema(
            {
                "user_id": kind(model.user_ids_),
                "item_id": kind(model.item_ids_),
                "score": pa.float32(),
                "rank": pa.int32(),
                "source": pa.string(),
            }
        )
        self.table = pa.table
        self.writer = pq.ParquetWriter(file, self.schema)

    def write(self, lists: Recommendations) -> None:
        columns = {
            name: arrow_column(values).cast(self.schema.field(name).type) for name, values in lists.to_dict().items()
        }
        self.writer.write_table(self.table(columns, schema=self.schema))

    def close(self) -> None:
        self.writer.close()

    @classmethod
    def join(cls, parts: list[Path], file: IO[bytes], model: "Recommender") -> None:
        import pyarrow.parquet as pq

        whole = cls(file, model, True)
        for part in parts:
            with pq.ParquetFile(part) as source:
                for batch in source.iter_batches(_CHUNK_ROWS):
                    whole.writer.write_batch(batch)
        whole.close()


_SINKS: dict[str, type[_Sink]] = {".parquet": _Parquet, ".csv": _Csv, ".jsonl": _Jsonl}


def _pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "a .parquet file needs pyarrow. Install it with: pip install 'ancf[arrow]', or write .csv or .jsonl."
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    It is locked for as long as its writer lives, which tells it from what a killed one left behind; that is removed.
    """
    folder = path.absolute().parent
    for stale in folder.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError), stale.open("rb") as file:
            if _lock(file.fileno()):
                stale.unlink()
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        # Between its creation and its lock, somebody else may have taken it for one left behind.
        locked = _lock(handle)
        if not locked or temporary.exists():
            break
        os.close(handle)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            # mkstemp gives 0600; a result has the rights of any new file.
            temporary.chmod(0o666 & ~_umask())
            if locked:
                temporary.replace(path)
        if not locked:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _lock(handle: int) -> bool:
    """Whether nobody else held the file's lock, which is ours from now on; False where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _straight(
    out: Path, sink: type[_Sink], model: "Recommender", starts: range, lists: Any, advance: Callable[[int], None]
) -> StreamResult:
    written = 0
    with replacing(out) as file:
        rows = sink(file, model, True)
        for start in starts:
            part = lists(start)
            rows.write(part)
            written += part.n_rows
            advance(len(part.counts))
        rows.close()
    return StreamResult(out, starts.stop, written)


def _by_parts(
    out: Path,
    sink: type[_Sink],
    model: "Recommender",
    starts: range,
    lists: Any,
    advance: Callable[[int], None],
    job: str,
) -> StreamResult:
    folder = out.absolute().parent / f".{out.name}.parts"
    folder.mkdir(exist_ok=True)
    note = folder / "job.json"
    if note.exists() and (found := _job_of(note)) != job:
        raise InvalidParameterError(
            f"resume=True: the parts in {folder} belong to another job (other model, N or filters: {found[:8]}, not "
            f"{job[:8]}). Remove the folder to start anew, or choose another out=."
        )
    with replacing(note) as file:
        file.write(json.dumps({"job": job}).encode())
    paths = [folder / f"{number:08d}{out.suffix}" for number in range(len(starts))]
    resumed = written = 0
    try:
        for number, (start, path) in enumerate(zip(starts, paths, strict=True)):
            users = min(starts.step, starts.stop - start)
            if path.exists():
                resumed += users
            else:
                part = lists(start)
                with replacing(path) as file:
                    rows = sink(file, model, number == 0)
                    rows.write(part)
                    rows.close()
            advance(users)
        with replacing(out) as file:
            sink.join(paths, file, model)
    except BaseException as error:
        error.add_note(f"Finished parts are kept in {folder}; call again with resume=True to go on.")
        raise
    written = _count_rows(out)
    shutil.rmtree(folder)
    return StreamResult(out, starts.stop, written, resumed)


def _job_of(note: Path) -> str:
    try:
        return str(json.loads(note.read_text())["job"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


def _count_rows(path: Path) -> int:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return lines - (path.suffix == ".csv")


def _fingerprint(model: "Recommender", N: int, size: int, filter_seen: bool, filters: Filters, suffix: str) -> str:
    """What decides the rows: the model's arrays, the question, the chunks."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([type(model).__name__, N, size, filter_seen, suffix]).encode())
    arrays, _ = model._state()
    each = () if filters.allow_each is None else filters.allow_each
    named = {
        **arrays,
        "allow": filters.allow,
        "deny": filters.deny,
        **{f"each{at}": part for at, part in enumerate(each)},
    }
    for name in sorted(named):
        if named[name] is not None:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(named[name]).data)
    return digest.hexdigest()


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
