"""``ancf demo``: the whole path on a made-up shop, in words, with figures that were measured while you watched.

The figures are those of all customers. The one customer who is shown is the first with a middling number of purchases
for whom the list finds something, which the text says, along with how many that is true of.
"""

import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ancf.cli.command import command, option
from ancf.cli.output import table

if TYPE_CHECKING:
    from ancf.comparison import Comparison
    from ancf.data.interactions import Interactions
    from ancf.models.base import Recommender

_WIDTH = 78
_METRICS = ("hit@10", "recall@20", "ndcg@10")
_HISTORY = (10, 15)
_SHOWN = 5


@command("demo", examples=["ancf demo", "ancf demo --customers 500 --epochs 5"])
@option("--customers", type=click.IntRange(100), default=3000, metavar="N", help="Of the made-up shop. [3000]")
@option("--epochs", type=click.IntRange(1), default=10, metavar="N", help="Rounds of learning. [10]")
@option("--seed", type=click.IntRange(0), default=20240101, metavar="N", help="Another seed, another shop. [20240101]")
@option("--save", metavar="FOLDER", help="Keep the shop's table and the model here, to go on with.")
def demo(customers: int, epochs: int, seed: int, save: str | None) -> None:
    """A made-up shop, from its raw purchases to lists with reasons.

    The purchases are cleaned, an attention model learns from the older part of them, its lists are held against
    popularity and item-kNN on the newer part, and one customer is shown what it recommends and why.
    """
    import ancf
    from ancf.comparison import compare
    from ancf.demo_shop import demo_shop

    began = time.perf_counter()
    _headline("A made-up shop")
    _paragraph(
        f"{customers:,} customers, a thousand products, fifteen months of purchases, made by a generator with a fixed "
        "seed: tastes, seasons, favourites, and the dirt of a real till."
    )
    purchases = demo_shop(seed, customers=customers)

    _headline("1  Its purchases, cleaned")
    data = ancf.read_interactions(purchases)
    _account(data)
    _paragraph("Every row is used or stands under one reason; none is lost silently.")

    _headline("2  An attention model learns")
    train, validation, test = ancf.time_split(data, (0.7, 0.1, 0.2))
    _paragraph(
        f"The table is cut by time, as a shop would meet it. The model learns from {len(train):,} purchases up to "
        f"{_day(train, -1)}; {len(validation):,} later ones choose the epoch, and the {len(test):,} from "
        f"{_day(test, 0)} on are kept for the examination."
    )
    started = time.perf_counter()
    with redirect_stdout(_Epochs(sys.stdout)):
        model = ancf.ANCF(epochs=epochs, verbose=1).fit(train, validation=validation)
    seconds = time.perf_counter() - started
    click.echo()
    _paragraph(f"Learned in {seconds:.1f} seconds. Epoch {model.history_['best_epoch']} was the best and is kept.")

    _headline("3  Held against popularity and item-kNN")
    result = compare(
        {"popularity": ancf.Popular(), "item-kNN": ancf.ItemKNN(), "attention": model}, train, test, _METRICS
    )
    _examination(result)

    _headline("4  A customer is recommended something, with reasons")
    _customer(model, train, test)

    _headline("5  Somebody nobody knows")
    _stranger(model, train)

    if save is not None:
        _save(purchases, model, save)
    click.echo(
        click.style(f"Done in {time.perf_counter() - began:.0f} seconds.", bold=True) + " Now with your own table:\n"
    )
    click.echo("  ancf describe purchases.csv\n  ancf train purchases.csv -o shop.ancf")
    click.echo("  ancf recommend shop.ancf --user ID --explain\n")


# ---- the parts


def _account(data: "Interactions") -> None:
    report = data.report
    click.echo(f"  {report.rows_read:>7,}  rows read")
    for reason in report.reasons:
        where = ", ".join(map(str, reason.first_rows[:2]))
        click.echo(f"  {-reason.rows:>7,}  {reason.text} (rows {where}, …)")
    click.echo(f"  {report.rows_used:>7,}  rows used: {data.n_users:,} customers, {data.n_items:,} products\n")


def _examination(result: "Comparison") -> None:
    first = next(iter(result.values()))
    _paragraph(
        f"What {first.n_users:,} customers bought for the first time after the cut, looked for in lists over all "
        f"products. hit@10: found at least one in ten; recall@20: the part found in twenty; ndcg@10: the higher in the "
        "list, the better."
    )
    rows = [[name, *(f"{each[metric]:.4f}" for metric in _METRICS)] for name, each in result.items()]
    click.echo(_indented(table(["model", *_METRICS], rows)) + "\n")
    best = result.best("ndcg@10")
    others = [name for name in result if name != "attention"]
    rival = max(others, key=lambda name: result[name]["ndcg@10"])
    gap, error = result.difference("attention", rival, "ndcg@10")
    if best == "attention" and gap > 2 * error:
        _paragraph(
            f"Customer by customer, attention is {gap:.4f} above {rival} in ndcg@10, with a standard error of "
            f"{error:.4f}: {gap / error:.0f} standard errors, not luck."
        )
    else:
        _paragraph(
            f"Here {best} has the highest ndcg@10; attention differs from {rival} by {gap:+.4f}, with a standard error "
            f"of {error:.4f}."
        )


def _customer(model: "Recommender", train: "Interactions", test: "Interactions") -> None:
    user, found, of = _served(model, train, test)
    if user is None:
        _paragraph("No customer of this shop came back after the cut with a middling number of purchases.")
        return
    mine = train.subset(train.users == train.user_ids.position(user))
    names = [_name(model, item) for item in _latest(mine)]
    _paragraph(f"Customer {user} has bought {len(names)} products; the latest are")
    for name in names[:5]:
        click.echo(f"    {name}")
    click.echo()
    bought = _bought(test, user)
    _paragraph("and these are recommended:")
    for row in model.recommend([user], N=_SHOWN).rows():
        _reasoned(model, row, model.explain(user, row.item_id), "  ✓" if row.item_id in bought else "")
    click.echo()
    _paragraph(
        f"✓ is what the customer did buy after the cut, which the model had not seen. This is the first customer for "
        f"whom one of the five comes true; it does for {found} of {of} with {_HISTORY[0]} to {_HISTORY[1]} products "
        "who bought something new."
    )


def _bought(test: "Interactions", user: Any) -> set[Any]:
    return set(test.item_ids.take(test.items[test.users == test.user_ids.position(user)]).tolist())


def _served(model: "Recommender", train: "Interactions", test: "Interactions") -> tuple[Any, int, int]:
    """The first middling customer whose list comes true, how many there are, and of how many."""
    users = np.diff(train.to_csr()[0])
    fitting = np.flatnonzero((users >= _HISTORY[0]) & (users <= _HISTORY[1]))
    asked = []
    for user in train.user_ids.values[fitting].tolist():
        before = set(train.item_ids.take(train.items[train.users == train.user_ids.position(user)]).tolist())
        if new := _bought(test, user) - before:
            asked.append((user, new))
    if not asked:
        return None, 0, 0
    ids = model.recommend([user for user, _ in asked], N=_SHOWN).ids
    hits = [user for (user, new), row in zip(asked, ids.tolist(), strict=True) if new & set(row)]
    return (hits or [asked[0][0]])[0], len(hits), len(asked)


def _stranger(model: "Recommender", train: "Interactions") -> None:
    popularity = np.bincount(train.items, minlength=train.n_items)
    first = train.item_ids.values[int(np.argmax(popularity))]
    second = model.similar_items(first, N=1).ids[0]
    _paragraph(
        "A visitor without an account has two things in the basket. The user is the history, so nothing has to be "
        "trained for that:"
    )
    for item in (first, second):
        click.echo(f"    {_name(model, item)}")
    click.echo()
    for row in model.recommend_for_history([[first, second]], N=3).rows():
        _reasoned(model, row, model.explain(item=row.item_id, history=[first, second]), "")
    click.echo()


def _reasoned(model: "Recommender", row: Any, why: Any, mark: str) -> None:
    from ancf.cli.recommend import because

    click.echo(f"  {row.rank}  {click.style(_name(model, row.item_id), bold=True)}{click.style(mark, fg='green')}")
    for line in because(why, indent=5):
        click.echo(click.style(line, dim=True))


def _latest(mine: "Interactions") -> list[Any]:
    """Items, the latest purchase first, each once."""
    assert mine.times is not None
    order = np.argsort(-mine.times, kind="stable")
    return list(dict.fromkeys(mine.item_ids.take(mine.items[order]).tolist()))


def _name(model: "Recommender", item: Any) -> str:
    from ancf.cli.models import name_of

    return (name_of(model, item) or str(item)).strip()


def _day(part: "Interactions", at: int) -> str:
    assert part.times is not None
    moment = np.sort(part.times)[at]
    day = np.datetime64(int(moment), "s").astype("datetime64[D]").item()
    return f"{day.day} {day:%B %Y}"


def _save(purchases: Any, model: "Recommender", folder: str) -> None:
    from pathlib import Path

    from ancf.cli.options import writable

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    writable(str(place / "shop.ancf"))
    purchases.to_csv(place / "purchases.csv", index=False, lineterminator="\n")
    model.save(place / "shop.ancf")
    _paragraph(f"Kept: {place / 'purchases.csv'} and {place / 'shop.ancf'}")


class _Epochs:
    """Of what a model prints while it learns, the losses of its epochs."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.line = stream, ""

    def write(self, text: str) -> int:
        *whole, self.line = (self.line + text).split("\n")
        for line in whole:
            if line.startswith(("Epoch ", "Choosing ")):
                self.stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return bool(self.stream.isatty())


# ---- words


def _headline(text: str) -> None:
    click.echo()
    click.echo(click.style(text, fg="cyan", bold=True))
    click.echo(click.style("─" * len(text), fg="cyan"))


def _paragraph(text: str) -> None:
    import textwrap

    click.echo("\n".join(textwrap.wrap(text, _WIDTH)) + "\n")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
