"""The formats that lists are written in: CSV, JSON lines (both also gzip), JSON, a table for people, Parquet."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ancf.data.ids import IdMap
from ancf.errors import MissingExtraError
from ancf.scoring.results import Recommendations, arrow_column
from ancf.scoring.scorer import Scorer

# Rows that are taken from one Parquet file into another at a time.
_BATCH_ROWS = 1 << 18
# As the program gzip does; 9 takes three times as long for a few percent.
_GZIP_LEVEL = 6
# Read at a time to count rows.
_COUNT_BYTES = 1 << 20


Reasons = list[list[tuple[int, float]]]
"""For each row the items (by position) that add most to its score, and what each adds."""


class Columns(NamedTuple):
    """What stands in a file beside ``user_id, item_id, score, rank, source``."""

    names: NDArray[Any] | None = None
    """(n_items,) text or None; as the column ``name``"""
    categories: NDArray[Any] | None = None
    """(n_items,) text or None; as the column ``category``"""
    explain: int = 0
    """So many reasons of each row, as the column ``reasons``"""

    @property
    def of_items(self) -> dict[str, NDArray[Any]]:
        """Those that say something of the item, by name."""
        both = {"name": self.names, "category": self.categories}
        return {name: values for name, values in both.items() if values is not None}


class Sink:
    """Rows of one format into an open binary file."""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool, columns: Columns) -> None:
        self.file, self.first, self.columns = file, first, columns

    def write(self, lists: Recommendations, reasons: Reasons | None = None) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write what stands at the end."""

    @classmethod
    def join(cls, parts: list[Path], file: IO[bytes], scorer: Scorer, columns: Columns) -> None:
        """The parts, one after the other."""
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)


class _Text(Sink):
    """Lines of text; what is said of an item is formatted once for all lists, a user's id once for the whole list, each
    score as the shortest decimal that is the same float32."""

    line = ""
    """A row: user, item with what is said of it, score, rank, reasons."""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool, columns: Columns) -> None:
        super().__init__(file, scorer, first, columns)
        raw = scorer.item_ids.values.tolist()
        self.items = [self.format_item(each) for each in raw]
        for name, values in columns.of_items.items():
            texts = zip(self.items, values.tolist(), strict=True)
            self.items = [item + self.format_text(name, text) for item, text in texts]
        if columns.explain:
            names = [None] * len(raw) if columns.names is None else columns.names.tolist()
            self.reasons = [
                f'"item_id": {_json_id(each)}, "name": {json.dumps(name, ensure_ascii=False)}, "adds": '
                for each, name in zip(raw, names, strict=True)
            ]
        if first:
            file.write(self.header().encode())

    def header(self) -> str:
        """What stands above the rows."""
        return ""

    @staticmethod
    def format_id(raw: Any) -> str:
        """An id as it stands in the file."""
        raise NotImplementedError

    def format_item(self, raw: Any) -> str:
        """An item's id as it stands in the file."""
        return self.format_id(raw)

    def format_text(self, column: str, text: str | None) -> str:
        """A name or category as it stands behind an item."""
        raise NotImplementedError

    def format_reasons(self, as_json: str) -> str:
        """Reasons as they stand at the end of a row."""
        raise NotImplementedError

    def _reasons(self, reasons: Reasons | None, row: int) -> str:
        if reasons is None:
            return ""
        listed = ", ".join(f"{{{self.reasons[item]}{adds!r}}}" for item, adds in reasons[row])
        return self.format_reasons(f"[{listed}]")

    def lines(self, lists: Recommendations, reasons: Reasons | None) -> Iterator[str]:
        """All rows of these lists."""
        line, items, row = self.line, self.items, 0
        unbought, of_users = lists.unbought, lists.sources_of_users()
        users, positions, scores, counts = lists.parts()
        for user, listed, texts, count, of_user in zip(
            map(self.format_id, users.tolist()),
            positions.tolist(),
            scores.astype(np.str_).tolist(),
            counts.tolist(),
            of_users,
            strict=True,
        ):
            for rank in range(count):
                at = listed[rank]
                source = of_user if unbought is None or not unbought[at] else "attributes"
                yield line % (user, items[at], texts[rank], rank + 1, source, self._reasons(reasons, row))
                row += 1

    def write(self, lists: Recommendations, reasons: Reasons | None = None) -> None:
        self.file.write("".join(self.lines(lists, reasons)).encode("utf-8", "surrogatepass"))


class _Csv(_Text):
    line = "%s,%s,%s,%d,%s%s\n"

    def header(self) -> str:
        of_items = "".join(f",{name}" for name in self.columns.of_items)
        return f"user_id,item_id{of_items},score,rank,source{',reasons' if self.columns.explain else ''}\n"

    @staticmethod
    def format_id(raw: Any) -> str:
        text = str(raw)
        quoted = any(each in text for each in ',"\r\n') or text != text.strip()
        return '"' + text.replace('"', '""') + '"' if quoted else text

    def format_text(self, column: str, text: str | None) -> str:
        return "," + self.format_id(text or "")

    def format_reasons(self, as_json: str) -> str:
        return "," + self.format_id(as_json)


def _json_id(raw: Any) -> str:
    return json.dumps(raw if isinstance(raw, (int, str)) else str(raw), ensure_ascii=False)


class _Jsonl(_Text):
    line = '{"user_id": %s, "item_id": %s, "score": %s, "rank": %d, "source": "%s"%s}\n'

    format_id = staticmethod(_json_id)

    def format_text(self, column: str, text: str | None) -> str:
        return f', "{column}": {json.dumps(text, ensure_ascii=False)}'

    def format_reasons(self, as_json: str) -> str:
        return f', "reasons": {as_json}'


class _Json(_Jsonl):
    """One list of all rows."""

    line = _Jsonl.line.rstrip("\n")

    def header(self) -> str:
        return "["

    def lines(self, lists: Recommendations, reasons: Reasons | None) -> Iterator[str]:
        for line in super().lines(lists, reasons):
            yield ("\n" if self.first else ",\n") + line
            self.first = False

    def close(self) -> None:
        self.file.write(b"\n]\n")


class _TextTable(_Text):
    """Columns as wide as the widest id, name and category."""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool, columns: Columns) -> None:
        values = {"user_id": scorer.user_ids.values, "item_id": scorer.item_ids.values, **columns.of_items}
        self.widths = {
            name: max([len(name), *(len(self.format_id(each or "")) for each in texts.tolist())])
            for name, texts in values.items()
        }
        self.line = f"%-{self.widths['user_id']}s  %-{self.widths['item_id']}s  %12s  %4d  %s%s\n"
        labels = [None] * len(scorer.item_ids) if columns.names is None else columns.names.tolist()
        pairs = zip(scorer.item_ids.values.tolist(), labels, strict=True)
        self.labels = [self.format_id(label or raw) for raw, label in pairs]
        super().__init__(file, scorer, first, columns)

    def header(self) -> str:
        names = "  ".join(f"{name:{width}}" for name, width in self.widths.items())
        return f"{names}  {'score':>12}  rank  source{'  reasons' if self.columns.explain else ''}\n"

    @staticmethod
    def format_id(raw: Any) -> str:
        return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(raw))

    def format_item(self, raw: Any) -> str:
        return f"{self.format_id(raw):{self.widths['item_id']}}"

    def format_text(self, column: str, text: str | None) -> str:
        return f"  {self.format_id(text or ''):{self.widths[column]}}"

    def _reasons(self, reasons: Reasons | None, row: int) -> str:
        if reasons is None:
            return ""
        return "  " + ", ".join(f"{self.labels[item]} {adds:+.4g}" for item, adds in reasons[row])


class _Parquet(Sink):
    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool, columns: Columns) -> None:
        super().__init__(file, scorer, first, columns)
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"int": pa.int64(), "bytes": pa.binary()}
        kind: Callable[[IdMap], Any] = lambda ids: types.get(ids.kind, pa.string())  # noqa: E731
        fields = {
            "user_id": kind(scorer.user_ids),
            "item_id": kind(scorer.item_ids),
            **dict.fromkeys(columns.of_items, pa.string()),
            "score": pa.float32(),
            "rank": pa.int32(),
            "source": pa.string(),
        }
        if columns.explain:
            of_one = {"item_id": kind(scorer.item_ids), "name": pa.string(), "adds": pa.float64()}
            fields["reasons"] = pa.list_(pa.struct(of_one))
        self.schema = pa.schema(fields)
        self.table, self.array = pa.table, pa.array
        self.ids = arrow_column(scorer.item_ids.values).to_pylist() if columns.explain else []
        self.writer = pq.ParquetWriter(file, self.schema)

    def write(self, lists: Recommendations, reasons: Reasons | None = None) -> None:
        found: dict[str, Any] = lists.to_dict()
        found.pop("name", None)
        for name, values in self.columns.of_items.items():
            found[name] = values[lists.flat_positions()]
        if reasons is not None:
            names = self.columns.names
            found["reasons"] = [
                [
                    {"item_id": self.ids[at], "name": None if names is None else names[at], "adds": adds}
                    for at, adds in each
                ]
                for each in reasons
            ]
        columns = {
            field.name: self.array(found[field.name], field.type)
            if field.name == "reasons"
            else arrow_column(found[field.name]).cast(field.type)
            for field in self.schema
        }
        self.writer.write_table(self.table(columns, schema=self.schema))

    def close(self) -> None:
        self.writer.close()

    @classmethod
    def join(cls, parts: list[Path], file: IO[bytes], scorer: Scorer, columns: Columns) -> None:
        import pyarrow.parquet as pq

        whole = cls(file, scorer, True, columns)
        for part in parts:
            with pq.ParquetFile(part) as source:
                for batch in source.iter_batches(_BATCH_ROWS):
                    whole.writer.write_batch(batch)
        whole.close()


class _Compressed(Sink):
    """Lines of text, compressed as they come."""

    def __init__(self, file: IO[bytes], scorer: Scorer, first: bool, columns: Columns) -> None:
        self.gzip = gzip_stream(file)
        super().__init__(self.gzip, scorer, first, columns)

    def close(self) -> None:
        super().close()
        self.gzip.close()

    @classmethod
    def join(cls, parts: list[Path], file: IO[bytes], scorer: Scorer, columns: Columns) -> None:
        """Compressed anew, which gives the bytes of a call that was never interrupted."""
        with gzip_stream(file) as whole:
            for part in parts:
                with gzip.open(part) as source:
                    shutil.copyfileobj(source, whole, 1 << 20)


class _CsvGz(_Compressed, _Csv):
    pass


class _JsonlGz(_Compressed, _Jsonl):
    pass


SINKS: dict[str, type[Sink]] = {
    ".parquet": _Parquet,
    ".csv": _Csv,
    ".jsonl": _Jsonl,
    ".csv.gz": _CsvGz,
    ".jsonl.gz": _JsonlGz,
}
"""The formats of files, by the end of their names."""

OPEN_FILE_SINKS: dict[str, type[Sink]] = {
    "parquet": _Parquet,
    "csv": _Csv,
    "jsonl": _Jsonl,
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


def gzip_stream(file: IO[bytes]) -> IO[bytes]:
    """Compresses into an open file, without a name or a date: the same content has the same bytes."""
    return cast("IO[bytes]", gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0))


def ending(path: Path) -> str:
    """The end of a file's name that says its format: ".csv", and ".csv.gz" where that is compressed.

    >>> ending(Path("lists.v2.csv.gz"))
    '.csv.gz'
    """
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def count_rows(path: Path) -> int:
    """The number of recommendations in a finished file."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    lines, quoted, is_csv = 0, False, ending(path).startswith(".csv")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for block in iter(lambda: file.read(_COUNT_BYTES), b""):
            # A line end within quotes belongs to an id; JSON has none.
            for part in block.split(b'"') if is_csv else [block]:
                lines += 0 if quoted else part.count(b"\n")
                quoted = not quoted
            quoted = not quoted and is_csv
    return lines - is_csv
