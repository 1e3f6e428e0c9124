"""Text tables to columns."""

import io
from collections.abc import Mapping

import pandas as pd

from ancf.columns import Choice, recognise
from ancf.errors import InvalidDataError
from ancf.tables import RawTable
from ancf.textfile import TextFile


def scan_text(text: TextFile, chosen: Mapping[str, Choice], keep_minus_one: bool, num_threads: int | None) -> RawTable:
    from ancf.reading import _Reader

    places = recognise(text.headings, chosen, text.source)
    data = b"".join(text.blocks)
    if not data.strip():
        raise InvalidDataError(f"{text.source}: there is a header line and no row below it.")
    frame = pd.read_csv(
        io.BytesIO(data),
        sep=text.delimiter,
        header=None,
        names=list(range(len(text.headings))),
        index_col=False,
        usecols=sorted(places.values()),
        dtype=object,
        keep_default_na=False,
        na_filter=False,
        encoding_errors="replace",
    )
    frame.columns = [text.headings[at] for at in frame.columns]
    order = sorted(places.values())
    table = _Reader(chosen, keep_minus_one)._columns(
        frame, {role: order.index(at) for role, at in places.items()}, text.source
    )
    table.row_base = text.row_base
    return table
