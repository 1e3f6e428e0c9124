"""The pictures of the report with their titles, words and tables, and the customers it shows."""

from typing import TYPE_CHECKING, Any, NamedTuple

from ancf.comparison.report import texts
from ancf.comparison.report.customers import Customer, customers_of
from ancf.comparison.report.definitions import cut_off
from ancf.comparison.report.material import Material
from ancf.comparison.report.popularity import BOUGHT, popularity_of_lists
from ancf.comparison.report.tables import LONGEST_NAME, Cell, Row, Table

if TYPE_CHECKING:
    from ancf.comparison.report.pictures import Picture

_GROUP_TITLES = {
    "history_length": "By how many products a customer had bought",
    "popularity": "By how popular the things are that a customer bought",
    "category": "By category of what a customer bought",
}


class Figure(NamedTuple):
    title: str
    picture: "Picture"
    words: str
    table: Table | None = None


def difference_figures(material: Material) -> list[Figure]:
    from ancf.comparison.report.pictures import forest

    found = []
    metric = material.document["metric"]
    dots = "A full dot is more than luck, a hollow one may be luck. The line is the 95 % interval."
    if material.against_best:
        if material.document["over"] is not None:
            title, words = "What each piece adds", f"Each piece against the one it is added to, in {metric}. {dots}"
        else:
            title = "Against the best other model"
            words = (
                f"{material.against_best[0].first} against {material.against_best[0].second}, and each of the others "
                f"against {material.ranking[0]}, in {metric}. {dots}"
            )
        found.append(Figure(title, forest(material.against_best, "differences"), words))
    if material.against_baseline:
        words = f"Each model against {material.document['baseline']}, in {metric}. {dots}"
        found.append(Figure("Against the baseline", forest(material.against_baseline, "baseline"), words))
    return found


def _series(material: Material) -> dict[str, int]:
    """The models that a picture has room for, each with its color: the best, ours, the baseline, and the next best."""
    from ancf.comparison.report.pictures import MAX_SERIES

    ranking = list(material.ranking)
    if material.document["over"] is not None:
        return {name: number for number, name in enumerate(list(material.order)[:MAX_SERIES], 1)}
    ours = [each["model"] for each in material.document["models"] if each["ours"]]
    first = [*ranking[:1], *[each for each in ranking if each in ours][:1], material.document["baseline"], *ranking]
    chosen = list(dict.fromkeys(each for each in first if each in ranking))[:MAX_SERIES]
    return {name: number for number, name in enumerate(sorted(chosen, key=ranking.index), 1)}


def _missing(n_shown: int, n_models: int) -> str:
    return f" The picture has {n_shown} of {n_models} models, the table has all." if n_shown < n_models else ""


def group_figures(material: Material) -> list[Figure]:
    from ancf.comparison.report.pictures import Line, groups

    document = material.document
    metric = next((each for each in document["metrics"] if each.startswith("recall")), document["metric"])
    found = []
    for name, parts in document["slices"].items():
        labels = [each["label"] for each in parts]
        with_metric = [each for each in material.order if any(metric in part["means"].get(each, {}) for part in parts)]
        if not with_metric:
            continue
        lines = {
            model: Line(
                series,
                [part["means"][model][metric] for part in parts],
                spread=[1.96 * each if (each := part["stderr"][model][metric]) else None for part in parts],
            )
            for model, series in _series(material).items()
            if model in with_metric
        }
        picture = groups(labels, lines, f"by-{name}", metric, ordered=name != "category")
        columns = [f"{part['label']} ({part['users']:,})" for part in parts]
        rows = [
            Row(
                texts.shortened(model, LONGEST_NAME),
                [],
                [Cell(texts.number(part["means"][model][metric])) for part in parts],
            )
            for model in with_metric
        ]
        title = _GROUP_TITLES.get(name, name)
        table = Table(f"{metric} by group; in brackets the number of customers", columns, rows)
        words = f"{metric}; the thin lines are about 95 % intervals: where groups are small, they are long."
        words += _missing(len(lines), len(with_metric))
        found.append(Figure(title, picture, words, table))
    return found


def popularity_figure(material: Material) -> Figure | None:
    """The figure; None where no lists were measured."""
    from ancf.comparison.report.pictures import Line, popularity_curves

    document = material.document
    listed = {name: material.listed[name] for name in material.order if name in material.listed}
    if material.tables is None or not listed:
        return None
    k = cut_off(document["metric"])
    new_only = bool(document["about"].get("filter_already_liked_items", True))
    found = popularity_of_lists(listed, *material.tables, material.user_ids, new_only=new_only)
    shown = {BOUGHT: 0} | {name: series for name, series in _series(material).items() if name in listed}
    few, tenth = max(1, found.n_items // 100), max(1, found.n_items // 10)
    said = "; ".join(
        f"{name}: the {few:,} best sellers have {texts.percent(found.at(name, few))}, the best-selling tenth "
        f"{texts.percent(found.at(name, tenth))}"
        for name in shown
    )
    lines = {name: Line(series, found.curve(name), found.ranks()) for name, series in shown.items()}
    picture = popularity_curves(lines, found.n_items, "popularity", f"Shares by popularity. {said}.")
    rows = [
        Row(
            texts.shortened(name, LONGEST_NAME),
            [],
            [
                Cell(texts.percent(found.at(name, few))),
                Cell(texts.percent(found.at(name, tenth))),
                Cell(texts.percent(max(0.0, 1 - found.at(name, tenth) - (found.new_share if name == BOUGHT else 0)))),
                Cell(f"{found.n_different[name]:,}"),
            ],
        )
        for name in found.cumulative
    ]
    columns = [
        "the best seller" if few == 1 else f"the {few:,} best sellers (1 %)",
        f"the {tenth:,} best (10 %)" if tenth > 1 else "the best tenth",
        "the other 90 %",
        f"different products of {found.n_items:,}",
    ]
    table = Table(f"The part of the first {k} places of the lists, and of what was bought, that goes to", columns, rows)
    words = (
        "Products are in the order of how many bought them in training, the best seller first. The first "
        f"{k} places of the lists that were measured, against what the customers bought afterwards. A line above the "
        "dashed one favors best sellers more than customers do."
    )
    words += _missing(len(shown) - 1, len(listed))
    if (among := document["about"].get("candidates", "all")) != "all":
        words += f" The lists choose among {among} candidates of each customer."
    if found.new_share:
        words += f" {texts.percent(found.new_share)} of what was bought was not in training and cannot be recommended."
    return Figure("", picture, words, table)


class _Customers(NamedTuple):
    model: str
    is_best: bool
    customers: list[Customer]
    problem: str = ""


def shown_customers(material: Material) -> _Customers | None:
    """Of our model, else of the best one that can say why."""
    if material.tables is None:
        return None
    document = material.document
    ours = [each["model"] for each in document["models"] if each["ours"]]
    new_only = bool(document["about"].get("filter_already_liked_items", True))
    names = dict.fromkeys([*(each for each in material.ranking if each in ours), *material.ranking])
    for name in names:
        if name not in material.models:
            continue
        try:
            found = customers_of(material.models[name], material.tables[1], material.user_ids, new_only=new_only)
        except Exception as error:  # whatever somebody else's model raises
            return _Customers(name, False, [], f"{name} could not be asked: {error}")
        if found:
            return _Customers(name, name == document["best"], found)
    return None


def learning_figures(material: Material) -> list[Figure]:
    from ancf.comparison.report.pictures import learning

    found = []
    for number, each in enumerate(material.document["models"], 1):
        history = each["history"]
        curves = {
            key: values
            for key, values in history.items()
            if isinstance(values, list) and len(values) > 1 and all(v is None or _is_number(v) for v in values)
        }
        if curves:
            best = history.get("best_epoch")
            picture = learning(curves, best if isinstance(best, int) else None, f"learning-{number}", each["model"])
            found.append(Figure(each["model"], picture, ""))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
