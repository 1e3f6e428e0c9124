"""``ancf describe``: what reading a purchase table uses and leaves out, and figures about what it holds."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ancf.cli.command import command, in_options
from ancf.cli.output import chosen_format, output_options, wrapped, write_table
from ancf.cli.tables import read_table, reading_options, table_argument

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions


@command(
    "describe",
    examples=[
        "ancf describe purchases.csv",
        "ancf describe january.csv february.csv",
        "ancf describe sales/ --skip-lines 2",
        "ancf describe purchases.csv.gz --format json | jq .reasons",
    ],
)
@table_argument
@reading_options
@output_options
def describe(table: tuple[str, ...], output_format: str | None, output: str, **options: Any) -> None:
    """What a purchase TABLE holds, and what reading it leaves out.

    Several files, a folder, a pattern and a zip archive are read as one table. Every row is either used or counted
    under one reason, with the first row numbers. Then come the figures that decide how well a model can do: how many
    purchases a customer has, and how much of all goes to a few items.
    """
    data = read_table(table, options)
    facts = _facts(data)
    report = data.report
    if chosen_format(output_format, output) == "table":
        rows = [(what, f"{value:,}" if isinstance(value, int) else value) for what, value in facts.items()]
        write_table(
            ["what", "value"],
            rows,
            output_format="table",
            output=output,
            heading=wrapped(f"{in_options(str(report))}\n"),
        )
        return
    document: dict[str, Any] = {**report.to_dict(), "facts": facts}
    for part in ("reasons", "notes"):
        document[part] = [{**each, "text": in_options(each["text"])} for each in document[part]]
    rows = [("rows_read", report.rows_read), ("rows_used", report.rows_used)]
    rows += [(f"left_out:{each.name}", each.rows) for each in report.reasons]
    rows += [(what.replace(" ", "_"), value) for what, value in facts.items()]
    if chosen_format(output_format, output) == "parquet":
        rows = [(what, str(value)) for what, value in rows]
    write_table(["what", "value"], rows, output_format=output_format, output=output, document=document)


def _facts(data: "Interactions") -> dict[str, Any]:
    pairs = data.to_csr()
    n_pairs = len(pairs.indices)
    per_user = np.diff(pairs.indptr)
    per_item = np.sort(np.bincount(pairs.indices, minlength=data.n_items))[::-1]
    part = np.cumsum(per_item) / max(n_pairs, 1)

    def part_of_top(share: float) -> str:
        top = max(1, round(share * data.n_items))
        return f"{100 * part[top - 1]:.1f} % of the pairs ({top:,} items)"

    facts: dict[str, Any] = {
        "users": data.n_users,
        "items": data.n_items,
        "events": len(data),
        "pairs of user and item": n_pairs,
        "density": f"{100 * n_pairs / (data.n_users * data.n_items):.3g} %",
        "items per user": _spread(per_user),
        "users per item": _spread(per_item),
        "users of one item only": int((per_user == 1).sum()),
        "items of one user only": int((per_item == 1).sum()),
        "the top 1 % of the items": part_of_top(0.01),
        "the top 20 % of the items": part_of_top(0.2),
    }
    if data.times is not None and len(data):
        import pandas as pd

        first, last = (pd.Timestamp(int(each), unit="s") for each in (data.times.min(), data.times.max()))
        facts["first event"], facts["last event"] = f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}"
        facts["time span"] = f"{(last - first).days:,} days"
    return facts


def _spread(counts: Any) -> str:
    return f"median {np.median(counts):.0f}, mean {counts.mean():.1f}, most {counts.max():,}"
