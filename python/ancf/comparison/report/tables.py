"""The tables of the report: what stands in each cell."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ancf.comparison.pairs import Difference, decides, lower_is_better
from ancf.comparison.report import texts
from ancf.comparison.report.material import Material
from ancf.comparison.sentence import format_p

# Longer names get a wider column, and are shortened in all tables but the first.
_LONG = 14
LONGEST_NAME = 40


class Cell(NamedTuple):
    text: str
    more: str = ""
    """A second line, such as the interval."""
    strong: bool = False


class Row(NamedTuple):
    name: str
    tags: list[str]
    cells: list[Cell]
    failure: str = ""


class Table(NamedTuple):
    caption: str
    columns: list[str]
    rows: list[Row]

    @property
    def has_long_names(self) -> bool:
        return any(len(each.name) > _LONG for each in self.rows)


def main_table(material: Material) -> Table:
    """The figures, the differences, and what each model cost."""
    document = material.document
    metric = document["metric"]
    by_name = {each["model"]: each for each in document["models"]}
    to_best = {each.first: each for each in material.against_best}
    to_base = {each.first: each for each in material.against_baseline}
    over = document["over"] is not None
    against = "Against the piece before" if over else "Against the best other"
    balance = "Customers won : lost" if decides(metric) else "Customers above : below"
    columns: dict[str, list[Cell]] = {
        metric: [_value_cell(by_name[name], metric, name == _winner(document)) for name in material.order],
        against: [_difference_cell(to_best.get(name), with_name=True) for name in material.order],
        "p": [_p_cell(to_best.get(name)) for name in material.order],
        balance: [_balance_cell(to_best.get(name)) for name in material.order],
        f"Against {document['baseline']}": [_difference_cell(to_base.get(name)) for name in material.order],
        f"p against {document['baseline']}": [_p_cell(to_base.get(name)) for name in material.order],
        "Tune, s": [Cell(texts.seconds(by_name[name]["tune_s"])) for name in material.order],
        "Fit, s": [Cell(texts.seconds(by_name[name]["fit_s"])) for name in material.order],
        "Lists, s": [Cell(texts.seconds(by_name[name]["evaluate_s"])) for name in material.order],
        "File, MB": [Cell(texts.megabytes(by_name[name]["model_bytes"])) for name in material.order],
        "Memory, MB": [Cell(texts.megabytes(by_name[name]["peak_bytes"])) for name in material.order],
    }
    kept = {name: cells for name, cells in columns.items() if name == metric or any(c.text != "–" for c in cells)}
    rows = [
        Row(name, _tags(material, name), [cells[at] for cells in kept.values()])
        for at, name in enumerate(material.order)
    ]
    rows += [Row(name, _tags(material, name), [], why) for name, why in material.failures.items()]
    caption = f"{metric} of {texts.count(document['users'], 'customer')}"
    if decides(metric):
        caption += f", {'lower' if lower_is_better(metric) else 'higher'} is better"
    if any(by_name[name]["metrics"].get(metric, {}).get("interval") for name in material.order):
        caption += "; below it its 95 % interval"
    return Table(caption, list(kept), rows)


def _tags(material: Material, name: str) -> list[str]:
    document = material.document
    tags = {"best": _winner(document), "baseline": document["baseline"]}
    return [tag for tag, whose in tags.items() if whose == name]


def _winner(document: Mapping[str, Any]) -> str | None:
    """None where the metric describes lists, and says not how good they are."""
    best: str | None = document["best"] if decides(document["metric"]) else None
    return best


def _value_cell(model: Mapping[str, Any], metric: str, strong: bool) -> Cell:
    found = model["metrics"].get(metric)
    if found is None:
        return Cell("–")
    return Cell(texts.number(found["value"]), texts.interval(found["interval"]), strong)


def _difference_cell(found: Difference | None, *, with_name: bool = False) -> Cell:
    if found is None:
        return Cell("–")
    return Cell(
        texts.signed(found.value) + (f" {texts.shortened(found.second, _LONG)}" if with_name else ""),
        texts.interval(found.interval, with_sign=True),
    )


def _p_cell(found: Difference | None) -> Cell:
    if found is None:
        return Cell("–")
    words = {True: "more than luck", False: "may be luck", None: "too few to tell"}
    return Cell(format_p(found.p), words[found.more_than_luck])


def _balance_cell(found: Difference | None) -> Cell:
    return Cell("–") if found is None else Cell(f"{found.won:,} : {found.lost:,}", f"{found.tied:,} the same")


def metrics_table(material: Material) -> Table | None:
    """All metrics, where there are several."""
    document = material.document
    metrics = document["metrics"]
    by_name = {each["model"]: each for each in document["models"]}
    if len(metrics) < 2 or not material.order:
        return None
    best: dict[str, float | None] = {}
    for metric in metrics:
        if not decides(metric):  # it describes lists, and says not how good they are
            best[metric] = None
            continue
        found = [by_name[name]["metrics"].get(metric, {}).get("value") for name in material.order]
        values = [each for each in found if each is not None]
        best[metric] = (min if lower_is_better(metric) else max)(values, default=None)
    rows = [
        Row(
            texts.shortened(name, LONGEST_NAME),
            [],
            [
                Cell(
                    texts.number(value := by_name[name]["metrics"].get(metric, {}).get("value")),
                    "",
                    value is not None and value == best[metric],
                )
                for metric in metrics
            ],
        )
        for name in material.order
    ]
    return Table("Every metric of every model; the best of each is bold", list(metrics), rows)
