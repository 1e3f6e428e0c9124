"""The page: what each section shows, and the template filled with it."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ancf.comparison.report import texts
from ancf.comparison.report.definitions import definition
from ancf.comparison.report.figures import (
    difference_figures,
    group_figures,
    learning_figures,
    popularity_figure,
    shown_customers,
)
from ancf.comparison.report.material import Material
from ancf.comparison.report.tables import Cell, Row, Table, main_table, metrics_table
from ancf.data.interactions import Interactions
from ancf.data.report import Report
from ancf.errors import MissingExtraError

if TYPE_CHECKING:
    import jinja2

# What notes about leaks begin with.
_LEAK = "leak: "
_SPLITS = {
    "time": "by time",
    "random": "at random",
    "last": "the last event of each customer is held out",
    "user": "by customer",
}


def render(material: Material) -> str:
    """The page as text.

    Raises
    ------
    MissingExtraError
        If jinja2 or matplotlib is not installed.
    """
    check_extra()
    template = _template()
    document = material.document
    about = document["about"]
    leakage = [each.removeprefix(_LEAK) for each in document["notes"] if each.startswith(_LEAK)]
    return template.render(
        document=document,
        facts=_facts(material),
        main=main_table(material),
        forests=difference_figures(material),
        metrics=metrics_table(material),
        groups=group_figures(material),
        popularity=popularity_figure(material),
        customers=shown_customers(material),
        curves=learning_figures(material),
        accounts=_accounts(material.tables),
        parts=_parts(about),
        leakage=leakage,
        notes=[each for each in document["notes"] if not each.startswith(_LEAK)],
        settings=_settings(material),
        made_with=[(each["model"], _constructor(each)) for each in document["models"]],
        definitions=[(label, text) for label in document["metrics"] if (text := definition(label))],
        command=material.command,
        now=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def check_extra() -> None:
    """Refuse what cannot be made before hours are spent on it.

    Raises
    ------
    MissingExtraError
        If jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2 as jinja2
        import matplotlib as matplotlib
    except ImportError as error:
        raise MissingExtraError(
            f"the report of a comparison needs {error.name}. Run: pip install 'ancf[report]', or take json or csv."
        ) from None


def _template() -> "jinja2.Template":
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            texts.printable(value) if isinstance(value, str) and type(value) is not Markup else value
        ),
    )
    environment.filters.update(
        number=texts.number, signed=texts.signed, interval=texts.interval, percent=texts.percent, count=texts.count
    )
    return environment.get_template("page.html.j2")


# ---- the sections


def _facts(material: Material) -> list[tuple[str, str]]:
    document = material.document
    facts = [("Models", f"{len(document['models'])}"), ("Customers measured", f"{document['users']:,}")]
    about = document["about"]
    if "train" in about:
        train, test = about["train"], about["test"]
        facts += [
            ("Products to choose from", f"{train['items']:,}"),
            ("Learned from", f"{texts.count(train['events'], 'event')}{_until(train, 'up to', 1)}"),
            ("Measured on", f"{texts.count(test['events'], 'event')}{_until(test, 'from', 0)}"),
        ]
    return facts


def _until(part: Mapping[str, Any], word: str, at: int) -> str:
    return f" {word} {_day(part['times'][at])}" if part["times"] else ""


class _Account(NamedTuple):
    title: str
    report: Report


def _accounts(tables: tuple[Interactions, Interactions] | None) -> list[_Account]:
    """How the table, or both, were read."""
    if tables is None:
        return []
    train, test = (each.report for each in tables)
    if train is test or train.to_dict() == test.to_dict():
        return [_Account("", train)]
    return [_Account("Training", train), _Account("Test", test)]


def _parts(about: Mapping[str, Any]) -> Table | None:
    if "train" not in about:
        return None
    rows = []
    for name, key in (("training", "train"), ("test", "test")):
        part = about[key]
        days = [_day(each) for each in part["times"]] if part["times"] else ["–", "–"]
        cells = [f"{part['events']:,}", f"{part['users']:,}", f"{part['items']:,}", *days]
        rows.append(Row(name, [], [Cell(each) for each in cells]))
    how = _SPLITS.get(about["test"]["split_by"] or "", "as given, split elsewhere")
    return Table(f"The two parts: {how}", ["events", "customers", "products", "first day", "last day"], rows)


def _settings(material: Material) -> list[tuple[str, str]]:
    about = material.document["about"]
    found = [
        ("metrics", ", ".join(material.document["metrics"])),
        (
            "products that a customer had",
            "are left out" if about.get("filter_already_liked_items") else "may be listed",
        ),
        ("intervals", f"{about['confidence']:.0%} of {about['resamples']:,} resamples of the customers"),
        ("tests", f"{' and '.join(about['tests'])}; {about['correction']}"),
        ("seed of the intervals", str(about.get("random_state", "–"))),
    ]
    if about.get("tune") is not None:
        found.append(("tuned", f"each on the validation part, {texts.count(about['tune'], 'trial')}"))
    if about.get("timeout_per_model") is not None:
        found.append(("time for each model", f"{about['timeout_per_model']:g} s"))
    found += [(f"fingerprint of {part}", about[part]["fingerprint"]) for part in ("train", "test") if part in about]
    found += [(f"version of {name}", version) for name, version in about.get("versions", {}).items()]
    return found


def _constructor(model: Mapping[str, Any]) -> str:
    """What makes the model again."""
    if model["class"] is None:
        return "–" if model["status"] != "done" else "lists made elsewhere"
    return f"{model['class']}({', '.join(f'{name}={value!r}' for name, value in model['options'].items())})"


def _day(seconds: int) -> str:
    # Not datetime.fromtimestamp, which knows no years beyond 9999.
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))
