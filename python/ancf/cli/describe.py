"""``ancf describe``: the account of a purchase table, and what it is like."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ancf.cli.command import command
from ancf.cli.output import chosen_format, output_options, wrapped, write
from ancf.cli.tables import read, reading_options, table_argument

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions


@command(
    "describe",
    examples=["ancf describe purchases.csv", "ancf describe purchases.csv.gz --format json | jq .reasons"],
)
@table_argument
@reading_options
@output_options
def describe(table: str, form: str | None, output: str, **options: Any) -> None:
    """What a purchase TABLE holds, and what reading it leaves out.

    Every row is either used or stands under one reason, with the numbers of the first rows. Then come the figures that
    decide how well a model can do: how many purchases a customer has, and how much of all goes to a few items.
    """
    data = read(table, options)
    facts = _facts(data)
    report = data.report
    if chosen_format(form, output) == "table":
        rows = [(what, f"{value:,}" if isinstance(value, int) else value) for what, value in facts.items()]
        write(["what", "value"], rows, form="table", output=output, heading=wrapped(f"{report}\n"))
        return
    reasons = [
        {"name": each.name, "rows": each.rows, "text": each.text, "first_rows": list(each.first_rows)}
        for each in report.reasons
    ]
    notes = [
        {"name": each.name, "rows": each.rows, "text": each.text, "first_rows": list(each.first_rows)}
        for each in report.notes
    ]
    document = {
        "source": report.source,
        "columns": report.columns,
        "rows_read": report.rows_read,
        "rows_used": report.rows_used,
        "reasons": reasons,
        "notes": notes,
        "facts": facts,
    }
    rows = [("rows_read", report.rows_read), ("rows_used", report.rows_used)]
    rows += [(f"left_out:{each.name}", each.rows) for each in report.reasons]
    rows += [(what.replace(" ", "_"), value) for what, value in facts.items()]
    if chosen_format(form, output) == "parquet":
        rows = [(what, str(value)) for what, value in rows]
    write(["what", "value"], rows, form=form, output=output, document=document)


def _facts(data: "Interactions") -> dict[str, Any]:
    indptr, items, _ = data.to_csr()
    pairs = len(items)
    per_user = np.diff(indptr)
    per_item = np.sort(np.bincount(items, minlength=data.n_items))[::-1]
    held = np.cumsum(per_item) / max(pairs, 1)

    def share(of: float) -> str:
        top = max(1, round(of * data.n_items))
        return f"{100 * held[top - 1]:.1f} % of the pairs ({top:,} items)"

    facts: dict[str, Any] = {
        "users": data.n_users,
        "items": data.n_items,
        "events": len(data),
        "pairs of user and item": pairs,
        "density": f"{100 * pairs / (data.n_users * data.n_items):.3g} %",
        "items per user": _spread(per_user),
        "users per item": _spread(per_item),
        "users of one item only": int((per_user == 1).sum()),
        "items of one user only": int((per_item == 1).sum()),
        "the top 1 % of the items": share(0.01),
        "the top 20 % of the items": share(0.2),
    }
    if data.times is not None and len(data):
        import pandas as pd

        first, last = (pd.Timestamp(int(each), unit="s") for each in (data.times.min(), data.times.max()))
        facts["first event"], facts["last event"] = f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}"
        facts["time span"] = f"{(last - first).days:,} days"
    return facts


def _spread(counts: Any) -> str:
    return f"median {np.median(counts):.0f}, mean {counts.mean():.1f}, most {counts.max():,}"
