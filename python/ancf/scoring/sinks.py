"""The formats that lists are written in: CSV, JSON lines, JSON, a table for people, Parquet."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ancf.data.ids import IdMap
from ancf.errors import MissingExtraError
from ancf.scoring.results import Recommendations, arrow_column
from ancf.scoring.scorer import Scorer

# Rows that are taken from one Parquet file into another at a time.
_BATCH_ROWS = 1 << 18


class Sink:
    """Rows of one format into an open binary file."""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool) -> None:
        self.file, self.first = file, first

    def write(self, lists: Recommendations) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write what stands at the end."""

    @classmethod
    def join(cls, parts: list[Path], file: IO[bytes], scorer: Scorer) -> None:
        """The parts, one after the other."""
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)


class _Text(Sink):
    """Lines of text; each id is written out once (an item for all lists, a user for the whole list), each score as the
    shortest decimal that is the same float32."""

    header = b""
    line = ""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool) -> None:
        super().__init__(file, scorer, first)
        self.items = [self.format_id(each) for each in scorer.item_ids.values.tolist()]
        if first:
            file.write(self.header)

    @staticmethod
    def format_id(raw: Any) -> str:
        """An id as it stands in the file."""
        raise NotImplementedError

    def _by_user(self, lists: Recommendations) -> Iterator[tuple[str, list[int], list[str], int]]:
        """For each user the id as it is written, the positions of the items, their scores, and how many count."""
        users, positions, scores, counts = lists.parts()
        return zip(
            map(self.format_id, users.tolist()),
            positions.tolist(),
            scores.astype(np.str_).tolist(),
            counts.tolist(),
            strict=True,
        )

    def write(self, lists: Recommendations) -> None:
        line, items = self.line, self.items
        lines: list[str] = []
        for user, row, texts, count in self._by_user(lists):
            for rank in range(count):
                lines.append(line % (user, items[row[rank]], texts[rank], rank + 1))
        self.file.write("".join(lines).encode("utf-8", "surrogatepass"))


class _Csv(_Text):
    header = b"user_id,item_id,score,rank,source\n"
    line = "%s,%s,%s,%d,model\n"

    @staticmethod
    def format_id(raw: Any) -> str:
        text = str(raw)
        quoted = any(each in text for each in ',"\r\n') or text != text.strip()
        return '"' + text.replace('"', '""') + '"' if quoted else text


class _Jsonl(_Text):
    line = '{"user_id": %s, "item_id": %s, "score": %s, "rank": %d, "source": "model"}\n'

    @staticmethod
    def format_id(raw: Any) -> str:
        return json.dumps(raw if isinstance(raw, (int, str)) else str(raw), ensure_ascii=False)


class _Json(_Text):
    """One list of all rows."""

    header = b"["
    line = "%s" + _Jsonl.line.rstrip("\n")

    format_id = staticmethod(_Jsonl.format_id)

    def write(self, lists: Recommendations) -> None:
        for user, row, texts, count in self._by_user(lists):
            for rank in range(count):
                before = "\n" if self.first else ",\n"
                self.first = False
                line = self.line % (before, user, self.items[row[rank]], texts[rank], rank + 1)
                self.file.write(line.encode("utf-8", "surrogatepass"))

    def close(self) -> None:
        self.file.write(b"\n]\n")


class _TextTable(_Text):
    """Columns as wide as the widest id."""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool) -> None:
        users = max((len(self.format_id(each)) for each in scorer.user_ids.values.tolist()), default=0)
        items = max((len(self.format_id(each)) for each in scorer.item_ids.values.tolist()), default=0)
        users, items = max(users, len("user_id")), max(items, len("item_id"))
        self.header = f"{'user_id':{users}}  {'item_id':{items}}  {'score':>12}  rank  source\n".encode()
        self.line = f"%-{users}s  %-{items}s  %12s  %4d  model\n"
        super().__init__(file, scorer, first)

    @staticmethod
    def format_id(raw: Any) -> str:
        return "".join(letter if letter.isprintable() else "�" for letter in str(raw))


class _Parquet(Sink):
    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool) -> None:
        super().__init__(file, scorer, first)
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"int": pa.int64(), "bytes": pa.binary()}
        kind: Callable[[IdMap], Any] = lambda ids: types.get(ids.kind, pa.string())  # noqa: E731
        self.schema = pa.schema(
            {
                "user_id": kind(scorer.user_ids),
                "item_id": kind(scorer.item_ids),
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
    def join(cls, parts: list[Path], file: IO[bytes], scorer: Scorer) -> None:
        import pyarrow.parquet as pq

        whole = cls(file, scorer, True)
        for part in parts:
            with pq.ParquetFile(part) as source:
                for batch in source.iter_batches(_BATCH_ROWS):
                    whole.writer.write_batch(batch)
        whole.close()


SINKS: dict[str, type[Sink]] = {".parquet": _Parquet, ".csv": _Csv, ".jsonl": _Jsonl}
"""The formats of files, by the end of their names."""

OPEN_FILE_SINKS: dict[str, type[Sink]] = {
    **{suffix.lstrip("."): sink for suffix, sink in SINKS.items()},
    "json": _Json,
    "table": _TextTable,
}
"""Those of open files, by name: one JSON list and columns for people as well."""


def require_pyarrow() -> None:
    """Say how to install what Parquet needs, before anything is computed for it.

    Raises
    ------
    MissingExtraError
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "a .parquet file needs pyarrow. Install it with: pip install 'ancf[arrow]', or write .csv or .jsonl."
        ) from error


def count_rows(path: Path) -> int:
    """The number of recommendations in a finished file."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return lines - (path.suffix == ".csv")
