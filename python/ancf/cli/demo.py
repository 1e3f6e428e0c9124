"""``ancf demo``: the whole path on a made-up shop, in words, with figures that are measured in this very run.

The figures are those of all customers. The one customer who is shown is the first with a middling number of purchases
of whose list something was bought later; the text says so, and of how many customers that is true.
"""

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ancf.cli.command import Failure, command, option
from ancf.cli.ids import item_name
from ancf.cli.options import check_writable
from ancf.cli.output import reasons_text, text_table

if TYPE_CHECKING:
    from ancf.comparison import Comparison
    from ancf.data.interactions import Interactions
    from ancf.models.base import Recommender

_WIDTH = 78
_METRICS = ("hit@10", "recall@20", "ndcg@10")
_HISTORY_LENGTHS = (10, 15)
_LIST_LENGTH = 5


@command("demo", examples=["ancf demo", "ancf demo --customers 500 --epochs 5"])
@option("--customers", type=click.IntRange(100), default=3000, metavar="N", help="Of the made-up shop. [3000]")
@option("--epochs", type=click.IntRange(1), default=10, metavar="N", help="Rounds of training. [10]")
@option("--seed", type=click.IntRange(0), default=20240101, metavar="N", help="Another seed, another shop. [20240101]")
@option("--save", metavar="FOLDER", help="Keep the shop's table and the model in this folder.")
def demo(customers: int, epochs: int, seed: int, save: str | None) -> None:
    """A made-up shop, from its raw purchases to lists with reasons.

    The purchases are cleaned, an attention model is trained on the older part of them, its lists are compared with
    popularity and item-kNN on the newer part, and for one customer you see what it recommends and why.
    """
    import ancf
    from ancf.comparison import compare
    from ancf.demo_shop import demo_shop

    folder = None if save is None else _make_folder(save)
    began = time.perf_counter()
    _heading("A made-up shop")
    _paragraph(
        f"{customers:,} customers, a thousand products, fifteen months of purchases, made by a generator with a fixed "
        "seed: tastes, seasons, favorites, and the errors of a real till."
    )
    purchases = demo_shop(seed, customers=customers)

    _heading("1  Its purchases, cleaned")
    data = ancf.read_interactions(purchases)
    _print_reading(data)
    _paragraph("Every row is used or counted under one reason; none is lost silently.")

    _heading("2  An attention model is trained")
    train, validation, test = ancf.time_split(data, (0.7, 0.1, 0.2))
    _paragraph(
        f"The table is split by time, as in a real shop. The model is trained on {len(train):,} purchases up to "
        f"{_date_text(train, -1)}; {len(validation):,} later ones choose the epoch, and the {len(test):,} from "
        f"{_date_text(test, 0)} on are kept for the evaluation."
    )
    started = time.perf_counter()
    with redirect_stdout(_EpochLines(sys.stdout)):
        model = ancf.ANCF(epochs=epochs, verbose=1).fit(train, validation=validation)
    seconds = time.perf_counter() - started
    click.echo()
    _paragraph(f"Trained in {seconds:.1f} seconds. Epoch {model.history_['best_epoch']} was the best and is kept.")

    _heading("3  Compared with popularity and item-kNN")
    result = compare(
        {"popularity": ancf.Popular(), "item-kNN": ancf.ItemKNN(), "attention": model}, train, test, _METRICS
    )
    _evaluation(result)

    _heading("4  Recommendations for a customer, with reasons")
    _known_customer(model, train, test)

    _heading("5  Recommendations for an unknown customer")
    _unknown_customer(model, train)

    if folder is not None:
        _save(purchases, model, folder)
    click.echo(click.style(f"Done in {time.perf_counter() - began:.1f} s.", bold=True) + " Now with your own table:\n")
    click.echo("  ancf describe purchases.csv\n  ancf train purchases.csv -o shop.ancf")
    click.echo("  ancf recommend shop.ancf --user ID --explain\n")
    click.echo("ancf playground opens this shop in the browser, to click through (extra: serve).\n")


# ---- the parts


def _print_reading(data: "Interactions") -> None:
    report = data.report
    click.echo(f"  {report.rows_read:>7,}  rows read")
    for reason in report.reasons:
        where = ", ".join(map(str, reason.first_rows[:2]))
        click.echo(f"  {-reason.rows:>7,}  {reason.text} (rows {where}, …)")
    click.echo(f"  {report.rows_used:>7,}  rows used: {data.n_users:,} customers, {data.n_items:,} products\n")


def _evaluation(result: "Comparison") -> None:
    first = next(iter(result.values()))
    _paragraph(
        f"What {first.n_users:,} customers bought for the first time after the split, looked for in lists over all "
        f"products. hit@10: one or more found in ten; recall@20: the part found in twenty; ndcg@10: the higher in the "
        "list, the better."
    )
    rows = [[name, *(f"{each[metric]:.4f}" for metric in _METRICS)] for name, each in result.items()]
    click.echo(_indented(text_table(["model", *_METRICS], rows)) + "\n")
    _paragraph(f"Customer by customer: {result.sentence}")


def _known_customer(model: "Recommender", train: "Interactions", test: "Interactions") -> None:
    user, found, of = _find_customer(model, train, test)
    if user is None:
        _paragraph("No customer with a middling number of purchases bought something new after the split.")
        return
    mine = train.subset(train.users == train.user_ids.position(user))
    names = [_name(model, item) for item in _latest_items(mine)]
    _paragraph(f"Customer {user} has bought {len(names)} products; the latest are")
    for name in names[:5]:
        click.echo(f"    {name}")
    click.echo()
    bought = _bought_items(test, user)
    _paragraph("and these are recommended:")
    for row in model.recommend([user], N=_LIST_LENGTH).rows():
        _print_with_reasons(model, row, model.explain(user, row.item_id), "  ✓" if row.item_id in bought else "")
    click.echo()
    _paragraph(
        f"✓ is what the customer did buy after the split, which the model had not seen. This is the first customer who "
        f"bought one of the five; so did {found} of {of} with {_HISTORY_LENGTHS[0]} to {_HISTORY_LENGTHS[1]} products "
        "who bought something new."
    )


def _bought_items(test: "Interactions", user: Any) -> set[Any]:
    return set(test.item_ids.take(test.items[test.users == test.user_ids.position(user)]).tolist())


def _find_customer(model: "Recommender", train: "Interactions", test: "Interactions") -> tuple[Any, int, int]:
    """The first customer with a middling history who bought of the list, how many did, and of how many."""
    lengths = np.diff(train.to_csr().indptr)
    rows = np.flatnonzero((lengths >= _HISTORY_LENGTHS[0]) & (lengths <= _HISTORY_LENGTHS[1]))
    requested = []
    for user in train.user_ids.values[rows].tolist():
        before = set(train.item_ids.take(train.items[train.users == train.user_ids.position(user)]).tolist())
        if new := _bought_items(test, user) - before:
            requested.append((user, new))
    if not requested:
        return None, 0, 0
    ids = model.recommend([user for user, _ in requested], N=_LIST_LENGTH).ids
    hits = [user for (user, new), row in zip(requested, ids.tolist(), strict=True) if new & set(row)]
    first, *_ = hits or [user for user, _ in requested]
    return first, len(hits), len(requested)


def _unknown_customer(model: "Recommender", train: "Interactions") -> None:
    popularity = np.bincount(train.items, minlength=train.n_items)
    first = train.item_ids.values[int(np.argmax(popularity))]
    second = model.similar_items(first, N=1).ids[0]
    _paragraph(
        "A visitor without an account has two things in the basket. A list needs only the history, so nothing has to "
        "be trained for that:"
    )
    for item in (first, second):
        click.echo(f"    {_name(model, item)}")
    click.echo()
    for row in model.recommend_for_history([[first, second]], N=3).rows():
        _print_with_reasons(model, row, model.explain(item=row.item_id, history=[first, second]), "")
    click.echo()


def _print_with_reasons(model: "Recommender", row: Any, why: Any, mark: str) -> None:
    click.echo(f"  {row.rank}  {click.style(_name(model, row.item_id), bold=True)}{click.style(mark, fg='green')}")
    for line in reasons_text(why, indent=5):
        click.echo(click.style(line, dim=True))


def _latest_items(mine: "Interactions") -> list[Any]:
    """Items, each once, the latest purchase first."""
    assert mine.times is not None
    order = np.argsort(-mine.times, kind="stable")
    return list(dict.fromkeys(mine.item_ids.take(mine.items[order]).tolist()))


def _name(model: "Recommender", item: Any) -> str:
    return (item_name(model, item) or str(item)).strip()


def _date_text(part: "Interactions", at: int) -> str:
    assert part.times is not None
    moment = np.sort(part.times)[at]
    day = np.datetime64(int(moment), "s").astype("datetime64[D]").item()
    return f"{day.day} {day:%B %Y}"


def _make_folder(folder: str) -> Path:
    """The folder to save to, before anything is computed for it."""
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"--save {folder}: it cannot be made a folder ({error.strerror}). Name another.", 2) from None
    check_writable(str(place / "purchases.csv"))
    check_writable(str(place / "shop.ancf"), streams=False)
    return place


def _save(purchases: Any, model: "Recommender", folder: Path) -> None:
    from ancf.atomic_file import atomic_write

    with atomic_write(folder / "purchases.csv") as file:
        purchases.to_csv(file, index=False, lineterminator="\n")
    model.save(folder / "shop.ancf")
    _paragraph(f"Saved: {folder / 'purchases.csv'} and {folder / 'shop.ancf'}")


class _EpochLines:
    """Lets through the lines about epochs of what a model prints while it is trained."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.unfinished = stream, ""

    def write(self, text: str) -> int:
        *lines, self.unfinished = (self.unfinished + text).split("\n")
        for line in lines:
            if line.startswith(("Epoch ", "Choosing ")):
                self.stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return bool(self.stream.isatty())


# ---- words


def _heading(text: str) -> None:
    click.echo()
    click.echo(click.style(text, fg="cyan", bold=True))
    click.echo(click.style("─" * len(text), fg="cyan"))


def _paragraph(text: str) -> None:
    import textwrap

    click.echo("\n".join(textwrap.wrap(text, _WIDTH)) + "\n")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
