"""The same purchases are the same ``Interactions``, however they are laid out, encoded and spelled.

Hypothesis draws the purchases, the kind of the ids, the spelling of the dates and the layout, and everything about the
layout that may differ: the order of the columns, delimiters, encodings, packing, several files.
"""

import bz2
import datetime
import gzip
import io
import json
import lzma
import string
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pyarrow
import pyarrow.parquet
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import ancf

DAY = 86400
START = int(pd.Timestamp("2011-01-25").timestamp())
"""A day that no month has, so that the order of day and month can be told."""

IDS = {
    "small numbers": lambda n: n + 1,
    "wide numbers": lambda n: 2**53 + 1 + 2 * n,
    "texts": lambda n: f"u{n}é" if n % 2 else f"Ä {n}",
    "digits": lambda n: f"{n:04}",
    "unicode": lambda n: f"客{n}",
}


def moments(seconds):
    return [datetime.datetime.fromtimestamp(each, datetime.UTC).replace(tzinfo=None) for each in seconds]


def written(form):
    return lambda seconds: [each.strftime(form) for each in moments(seconds)]


# How dates are spelled: the step of their times, what stands in the columns, and the options that reading needs.
TEXT_DATES = {
    "ISO": (1, written("%Y-%m-%d %H:%M:%S"), {}),
    "ISO with a zone": (1, written("%Y-%m-%dT%H:%M:%SZ"), {}),
    "ISO days": (DAY, written("%Y-%m-%d"), {}),
    "day first": (DAY, written("%d/%m/%Y"), {}),
    "day first, said": (60, written("%d/%m/%Y %H:%M"), {"day_first": True}),
    "dotted": (60, written("%d.%m.%Y %H:%M"), {}),
    "month first": (60, written("%m/%d/%Y %H:%M"), {}),
    "a format": (DAY, written("%d-%b-%y"), {"time_format": "%d-%b-%y"}),
    "yyyymmdd": (DAY, written("%Y%m%d"), {}),
    "yyyymmddHHMMSS": (1, written("%Y%m%d%H%M%S"), {}),
    "seconds": (1, lambda seconds: [str(each) for each in seconds], {}),
    "milliseconds": (1, lambda seconds: [str(each * 1000) for each in seconds], {}),
    "days": (DAY, lambda seconds: [str(each // DAY) for each in seconds], {"time_unit": "days"}),
}
VALUE_DATES = {
    name: (step, lambda seconds, spell=spell: [int(each) for each in spell(seconds)], options)
    for name, (step, spell, options) in TEXT_DATES.items()
    if name in ("yyyymmdd", "yyyymmddHHMMSS", "seconds", "milliseconds", "days")
} | {
    "datetimes": (1, moments, {}),
    "dates": (DAY, lambda seconds: [each.date() for each in moments(seconds)], {}),
    "datetime64": (1, lambda seconds: np.array(seconds, "datetime64[s]").astype("datetime64[us]"), {}),
}


class Table:
    """Purchases as named columns of values or texts, in some order."""

    def __init__(self, columns, order, options):
        self.columns = {name: columns[name] for name in order}
        self.options = options

    def rows(self):
        return list(zip(*self.columns.values(), strict=True))

    def part(self, start, end):
        return Table(
            {name: list(values)[start:end] for name, values in self.columns.items()}, self.columns, self.options
        )


def text_of(table, delimiter, header=True):
    rows = [tuple(table.columns)] * header + table.rows()
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lambda raw: lzma.compress(raw, preset=0)}


def read_text(draw, table, folder):
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"]))
    header = draw(st.booleans())
    places = {"user_id": "user", "item_id": "item", "quantity": "weight", "date": "time"}
    options = {} if header else {"header": False}
    for at, name in enumerate(table.columns):
        if not header and name in places:
            options[places[name]] = at
    raw = text_of(table, draw(st.sampled_from(",;\t|")), header)
    try:
        encoded = raw.encode(encoding)
    except UnicodeEncodeError:
        encoded = raw.encode("utf-8")
    packing = draw(st.sampled_from(sorted(PACKED)))
    path = folder / f"shop.csv{packing}"
    path.write_bytes(PACKED[packing](encoded))
    with path.open("rb") as file:
        return ancf.read_interactions(draw(st.sampled_from([path, str(path), file])), **table.options, **options)


def read_json(draw, table, folder):
    objects = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
    ascii_only = draw(st.booleans())
    if draw(st.booleans()):
        text = json.dumps(objects, ensure_ascii=ascii_only)
    else:
        text = "".join(json.dumps(each, ensure_ascii=ascii_only) + "\n" for each in objects)
    return ancf.read_interactions(io.BytesIO(text.encode()), **table.options)


def read_several(draw, table, folder):
    at = draw(st.integers(1, len(table.rows()) - 1)) if len(table.rows()) > 1 else 1
    texts = [text_of(part, draw(st.sampled_from(",;"))) for part in (table.part(0, at), table.part(at, None))]
    paths = [folder / "a.csv", folder / "b.csv"]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    way = draw(st.sampled_from(["list", "folder", "pattern", "zip"]))
    if way == "zip":
        source = folder / "both.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path, text in zip(paths, texts, strict=True):
                archive.writestr(path.name, text)
    else:
        source = {"list": paths, "folder": folder, "pattern": str(folder / "*.csv")}[way]
    return ancf.read_interactions(source, **table.options)


def read_frame(draw, table, folder):
    frame = pd.DataFrame(table.columns)
    way = draw(st.sampled_from(["pandas", "nullable", "category", "index", "polars", "arrow", "parquet", "dict"]))
    if way == "nullable":
        frame = frame.convert_dtypes()
    elif way == "category":
        frame = frame.astype({"user_id": "category", "item_id": "category"})
    elif way == "index":
        frame = frame.set_index(["user_id", "item_id"])
    source = {
        "polars": lambda: polars.from_pandas(frame),
        "arrow": lambda: pyarrow.Table.from_pandas(frame),
        "parquet": lambda: folder / "shop.parquet",
        "dict": lambda: dict(table.columns),
    }.get(way, lambda: frame)()
    if way == "parquet":
        frame.to_parquet(source)
    return ancf.read_interactions(source, **table.options)


def read_rows(draw, table, folder):
    way = draw(st.sampled_from(["tuples", "lists", "dicts", "iterator"]))
    if way == "dicts":
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
        return ancf.read_interactions(rows, **table.options)
    names = [name for name in ("user_id", "item_id", "quantity", "date") if name in table.columns]
    rows = list(zip(*(table.columns[name] for name in names), strict=True))
    rows = rows if way == "tuples" else [list(row) for row in rows]
    return ancf.read_interactions(iter(rows) if way == "iterator" else rows, **table.options)


LAYOUTS = {"text": read_text, "JSON": read_json, "several": read_several, "frame": read_frame, "rows": read_rows}


@settings(max_examples=100, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.data())
def test_the_same_purchases_in_any_layout_are_the_same_interactions(data):
    draw = data.draw
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    in_memory = layout in ("frame", "rows")
    dates = (
        TEXT_DATES
        if not in_memory
        else {**TEXT_DATES, **{f"{name} as values": each for name, each in VALUE_DATES.items()}}
    )
    step, spell, options = dates[draw(st.sampled_from(sorted(dates)))]
    kind = IDS[draw(st.sampled_from(sorted(IDS)))]
    purchase = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 5), st.integers(0, 300 * DAY))
    purchases = draw(st.lists(purchase, min_size=1, max_size=12))
    users = [kind(user) for user, *_ in purchases] + [kind(0)]
    items = [kind(item) for _, item, *_ in purchases] + [kind(1)]
    weights = [weight for _, _, weight, _ in purchases] + [1]
    # One purchase on the 25th: without it nothing tells 01/02 from 02/01.
    times = [START + time // step * step for *_, time in purchases] + [START]

    columns = {"user_id": users, "item_id": items, "quantity": weights, "date": list(spell(times))}
    others = draw(st.lists(st.sampled_from(["color", "shelf", "note"]), unique=True, max_size=2))
    columns |= {name: list(string.ascii_lowercase[: len(users)]) for name in others}
    split_clock = layout in ("text", "several", "frame") and step == 1 and draw(st.booleans())
    if split_clock:
        columns["date"] = written("%Y-%m-%d")(times)
        columns["clock"] = written("%H:%M:%S")(times)
    table = Table(columns, draw(st.permutations(list(columns))), options)
    if split_clock:
        table.options = {"time": ["date", "clock"]}
        if layout == "text":
            layout = "several"

    with tempfile.TemporaryDirectory() as folder:
        found = LAYOUTS[layout](draw, table, Path(folder))
    as_id = (lambda each: each) if in_memory else str
    expected = ancf.Interactions.from_ids(
        user=[as_id(user) for user in users], item=[as_id(item) for item in items], weight=weights, time=times
    )
    assert found.to_pandas().to_dict("list") == expected.to_pandas().to_dict("list")
    assert found.fingerprint() == expected.fingerprint()
    assert found.report.rows_used == len(users)
