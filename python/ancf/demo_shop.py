"""A believable shop of a fixed seed: what ``ancf demo``, the examples and the tests learn from.

Three thousand customers, a thousand products in twelve categories, a year and a quarter of baskets. Customers have
tastes (a few categories, a style) that persist, products have a long-tailed popularity, a season and a launch day,
things of one design are bought together, favourites are bought again, some things come back. As in real tables there
are anonymous baskets, remarks in the name column, lines typed twice, zero quantities and lines without a product.

Drawn line by line in bulk: for each (category, style, circle, month) there is one table of product chances, and a
line is one uniform number looked up in it. About 48,000 lines in a tenth of a second.
"""

from os import PathLike
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FIRST_DAY = np.datetime64("2024-01-01")
DAYS = 456
CIRCLES = 6
"""Kinds of customers: what one buys, others of the circle buy, for reasons that no column tells."""
STYLES = ("Vintage", "Modern", "Country", "Festive", "Kids", "Botanical")

# Category: things in it, and the month in which it sells best (0: all year).
_CATEGORIES: dict[str, tuple[tuple[str, ...], int]] = {
    "Kitchen": (("Crème Brûlée Dish", "Mug", "Teapot", "Cake Tin", "Mixing Bowl", "Chopping Board", "Apron"), 0),
    "Candles": (("Candle", "T-Light Holder", "Lantern", "Candlestick", "Wax Melt"), 11),
    "Garden": (("Plant Pot", "Watering Can", "Bird Feeder", "Trowel", "Seed Box", "Parasol"), 5),
    "Stationery": (("Notebook", "Fountain Pen", "Wrapping Paper", "Greeting Card", "Pencil Case"), 9),
    "Toys": (("Puzzle", "Doll", "Wooden Train", "Kite", "Building Blocks", "Board Game"), 12),
    "Bathroom": (("Towel", "Soap Dish", "Bath Mat", "Sponge", "Shower Curtain"), 0),
    "Christmas": (("Bauble", "Stocking", "Wreath", "Advent Calendar", "Star"), 12),
    "Picnic": (("Picnic Basket", "Lunch Box", "Flask", "Cool Bag", "Blanket"), 7),
    "Bags": (("Tote Bag", "Rucksack", "Shopper", "Purse", "Wash Bag"), 0),
    "Home": (("Cushion", "Clock", "Picture Frame", "Doormat", "Hook", "Mirror", "Café Sign"), 0),
    "Party": (("Bunting", "Paper Plate", "Balloon", "Napkin", "Party Hat"), 6),
    "Jewellery": (("Necklace", "Bracelet", "Brooch", "Ring Box", "Hair Clip"), 2),
}
_COLOURS = ("Red", "Blue", "Green", "Ivory", "Pink", "Black")
_FINISHES = ("Enamel", "Linen", "Wooden", "Striped", "Spotty", "Floral", "Retro", "Zinc", "Glass", "Felt")
_REMARKS = ("damaged", "?", "found in stock", "sample", "wrong label")


def demo_shop(seed: int = 20240101, *, customers: int = 3000, products: int = 1000) -> pd.DataFrame:
    """The purchase table of the shop, one line per product of a basket, oldest first.

    Parameters
    ----------
    seed : int
        The same seed gives the same table.
    customers, products : int
        At least 10 and 24.

    Returns
    -------
    DataFrame
        ``order_id, product_id, product_name, category, quantity, order_date, price, customer_id``; all but the quantity
        and the price are text, as they would be in a file.

    Examples
    --------
    >>> table = demo_shop(customers=50, products=48)
    >>> list(table.columns)[:3], bool((table["quantity"] < 0).any())
    (['order_id', 'product_id', 'product_name'], True)
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    shelf = _shelf(rng, max(products, 2 * len(_CATEGORIES)))
    lines = _lines(rng, shelf, max(customers, 10))
    return _with_dirt(rng, lines, shelf)


def write_csv(target: str | PathLike[str] | IO[str], seed: int = 20240101, **sizes: int) -> None:
    """Write the shop's purchase table as a CSV file."""
    demo_shop(seed, **sizes).to_csv(target, index=False, lineterminator="\n")


class _Shelf:
    """Products as arrays of one entry each, ordered by category."""

    code: NDArray[np.object_]
    name: NDArray[np.object_]
    category: NDArray[np.int64]
    style: NDArray[np.int64]
    partner: NDArray[np.int64]
    """A product of the same design, bought along with it."""
    price: NDArray[np.float64]
    first: NDArray[np.int64]
    """Where each category begins; one more than there are categories."""
    tables: NDArray[np.float64]
    """Rising chances of all (category, style, circle, month) tables in a row; table t lies between t and t + 1."""
    table_start: NDArray[np.int64]


def _shelf(rng: np.random.Generator, n: int) -> _Shelf:
    shelf = _Shelf()
    names = list(_CATEGORIES)
    share = 0.4 + rng.random(len(names))
    counts = np.maximum(2, np.floor(share / share.sum() * n).astype(np.int64))
    counts[0] += n - counts.sum()
    shelf.first = np.append(0, np.cumsum(counts))
    shelf.category = np.repeat(np.arange(len(names)), counts)
    within = np.arange(n) - shelf.first[shelf.category]
    # Six colours of one design stand side by side.
    design = within // len(_COLOURS)
    shelf.partner = shelf.first[shelf.category] + np.minimum(
        design * len(_COLOURS) + (within + 1) % len(_COLOURS), counts[shelf.category] - 1
    )
    key = shelf.category * 1000 + design
    _, design_of = np.unique(key, return_inverse=True)
    n_designs = design_of.max() + 1
    shelf.style = _pick(rng, np.array([0.25, 0.22, 0.18, 0.08, 0.12, 0.15]), n_designs)[design_of]
    finish = np.floor(rng.random(n_designs) * len(_FINISHES)).astype(np.int64)[design_of]
    shelf.name = np.array(
        [
            f"{STYLES[style]} {_COLOURS[w % len(_COLOURS)]} {_FINISHES[f]} {things[d % len(things)]}"
            + (f" No. {d // len(things) + 1}" if d >= len(things) else "")
            for style, w, f, d, things in zip(
                shelf.style,
                within,
                finish,
                design,
                (_CATEGORIES[names[c]][0] for c in shelf.category),
                strict=True,
            )
        ],
        object,
    )
    # Codes as shops have them: leading zeros, a letter for the colour.
    shelf.code = np.array(
        [f"{210 + 37 * int(k):05d}{'ABCDEF'[w % 6] if w % 6 else ''}" for k, w in zip(design_of, within, strict=True)],
        object,
    )
    shelf.price = np.round(np.exp(rng.normal(1.4, 0.7, n_designs))[design_of] + 0.05, 2)

    popularity = (1.0 + np.floor(rng.random(n) * n)) ** -0.6 * np.exp(0.6 * rng.normal(size=n_designs))[design_of]
    launch = np.where(rng.random(n) < 0.2, rng.random(n) * 12, 0.0)
    months = np.arange(DAYS // 30 + 1)
    peak = np.array([_CATEGORIES[name][1] for name in names])[shelf.category]
    distance = np.abs((months[None, :] % 12 + 1 - peak[:, None] + 6) % 12 - 6)
    season = np.where(peak[:, None] > 0, 0.15 + np.exp(-0.5 * (distance / 1.5) ** 2), 0.6)
    available = np.where(months[None, :] >= launch[:, None], 1.0, 1e-6)
    fancy = np.exp(1.3 * rng.normal(size=(CIRCLES, n_designs)))[:, design_of] * np.exp(
        0.5 * rng.normal(size=(CIRCLES, n))
    )
    tables: list[NDArray[np.float64]] = []
    starts: list[int] = []
    position = 0
    for category in range(len(names)):
        members = slice(shelf.first[category], shelf.first[category + 1])
        for style in range(len(STYLES)):
            liking = np.where(shelf.style[members] == style, 1.0, 0.06) * popularity[members]
            chances = (liking * fancy[:, members])[:, None, :] * (season[members] * available[members]).T[None]
            rising = np.cumsum(chances, axis=2).reshape(CIRCLES * len(months), -1)
            rising /= rising[:, -1:]
            tables.append((np.arange(len(rising))[:, None] + len(starts) + rising).ravel())
            starts += range(position, position + rising.size, rising.shape[1])
            position += rising.size
    shelf.tables, shelf.table_start = np.concatenate(tables), np.array(starts)
    return shelf


def _pick(rng: np.random.Generator, chances: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(np.cumsum(chances / chances.sum()), rng.random(n)), len(chances) - 1)


def _rows_of(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For groups of these sizes laid side by side: the group of each row, and its place within the group."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _lines(rng: np.random.Generator, shelf: _Shelf, n_customers: int) -> pd.DataFrame:
    """Clean lines: basket, day and minute, customer, product, quantity."""
    n_categories = len(_CATEGORIES)
    months = DAYS // 30 + 1
    # Tastes: chances of categories rise steeply for a few (a Dirichlet of small concentration by its gamma draws).
    taste = np.cumsum(rng.standard_gamma(0.25, (n_customers, n_categories)) + 1e-3, axis=1)
    taste /= taste[:, -1:]
    style = np.cumsum(rng.standard_gamma(0.2, (n_customers, len(STYLES))) + 1e-3, axis=1)
    style /= style[:, -1:]
    circle = np.floor(rng.random(n_customers) * CIRCLES).astype(np.int64)
    trade = rng.random(n_customers) < 0.04
    joined = np.floor(DAYS * 0.85 * rng.random(n_customers) ** 1.6)
    wish = np.exp(rng.normal(0.9, 0.75, n_customers)) * np.where(trade, 4.0, 1.0) * (1.2 - joined / DAYS)
    n_baskets = np.minimum(1 + np.floor(wish).astype(np.int64), 80)

    customer, _ = _rows_of(n_baskets)
    day = np.floor(joined[customer] + rng.random(len(customer)) * (DAYS - joined[customer])).astype(np.int64)
    rush = rng.random(len(customer)) < 0.15  # some visits move to before Christmas
    day = np.where(
        rush & (joined[customer] < 300), 305 + np.floor(50 * rng.random(len(customer))).astype(np.int64), day
    )
    minute = np.floor(8 * 60 + 12 * 60 * rng.random(len(customer))).astype(np.int64)
    # A customer's baskets in the order of time, so that "bought before" means what it says.
    order = np.lexsort((minute, day, customer))
    day, minute = day[order], minute[order]
    theme = (rng.random(len(customer))[:, None] > taste[customer]).sum(1)
    size = 1 + np.floor(rng.standard_exponential(len(customer)) * np.where(trade[customer], 9.0, 3.6)).astype(np.int64)

    basket, place = _rows_of(np.minimum(size, 60))
    buyer = customer[basket]
    n = len(basket)
    own = (rng.random(n)[:, None] > taste[buyer]).sum(1)
    category = np.minimum(np.where(rng.random(n) < 0.6, theme[basket], own), n_categories - 1)
    liked = np.minimum((rng.random(n)[:, None] > style[buyer]).sum(1), len(STYLES) - 1)
    table = ((category * len(STYLES) + liked) * CIRCLES + circle[buyer]) * months + day[basket] // 30
    found = np.searchsorted(shelf.tables, table + rng.random(n), side="right")
    size_of = np.diff(shelf.first)[category]
    product = shelf.first[category] + np.minimum(found - shelf.table_start[table], size_of - 1)

    along = (rng.random(n) < 0.14) & (place > 0)
    product[along] = shelf.partner[product[np.flatnonzero(along) - 1]]
    since = np.arange(n) - np.searchsorted(buyer, buyer)
    again = (rng.random(n) < 0.16) & (since > 3)
    earlier = np.arange(n) - since + np.floor(rng.random(n) * since).astype(np.int64)
    product[again] = product[earlier[again]]

    quantity = 1 + np.floor(rng.standard_exponential(n) * 0.8).astype(np.int64)
    quantity = np.where(trade[buyer], quantity * np.where(rng.random(n) < 0.6, 12, 6), quantity)
    lines = pd.DataFrame(
        {
            "basket": basket,
            "minute": day[basket] * 1440 + minute[basket],
            "buyer": buyer,
            "product": product,
            "n": quantity,
        }
    )
    # Tills put most of what is bought twice in a basket on one line.
    return lines[~lines.duplicated(["basket", "product"]) | (rng.random(n) < 0.1)]


def _with_dirt(rng: np.random.Generator, lines: pd.DataFrame, shelf: _Shelf) -> pd.DataFrame:
    """The lines as the shop's till wrote them down: with returns, anonymous baskets and what else goes wrong."""
    n = len(lines)
    returned = lines[rng.random(n) < 0.018].copy()
    returned["minute"] += 1440 * np.floor(2 + 20 * rng.random(len(returned))).astype(np.int64)
    returned["n"] = -np.ceil(returned["n"] * np.where(rng.random(len(returned)) < 0.6, 1.0, 0.5)).astype(np.int64)
    returned["basket"] += int(lines["basket"].max()) + 1
    twice = lines[rng.random(n) < 0.003]
    lines = pd.concat([lines, returned, twice]).sort_values(["minute", "basket"], kind="stable", ignore_index=True)
    n = len(lines)

    baskets, order = np.unique(lines["basket"].to_numpy(), return_inverse=True)
    first_seen = np.full(len(baskets), n)
    np.minimum.at(first_seen, order, np.arange(n))
    number = np.empty(len(baskets), np.int64)
    number[np.argsort(first_seen, kind="stable")] = np.arange(len(baskets))
    invoice = 500001 + number[order]
    back = lines["n"].to_numpy() < 0
    nameless = (rng.random(len(baskets)) < 0.12)[order] & ~back

    product = lines["product"].to_numpy()
    name = shelf.name[product].copy()
    remark = rng.random(n) < 0.002
    name[remark] = np.array(_REMARKS, object)[np.floor(rng.random(remark.sum()) * len(_REMARKS)).astype(np.int64)]
    spaced = rng.random(n) < 0.01
    name[spaced] = name[spaced] + "  "
    code = shelf.code[product].copy()
    code[rng.random(n) < 0.0005] = ""
    quantity = lines["n"].to_numpy().copy()
    quantity[(rng.random(n) < 0.0008) & ~back] = 0
    who = np.array([f"{7 * int(buyer) + 10007:06d}" for buyer in range(int(lines["buyer"].max()) + 1)], object)
    customer = who[lines["buyer"].to_numpy()]
    customer[nameless] = np.where(rng.random(nameless.sum()) < 0.1, "-1", "")
    moment = FIRST_DAY.astype("M8[m]") + lines["minute"].to_numpy().astype("m8[m]")
    return pd.DataFrame(
        {
            "order_id": np.where(back, "R", "") + invoice.astype(str).astype(object),
            "product_id": code,
            "product_name": name,
            "category": np.array(list(_CATEGORIES), object)[shelf.category[product]],
            "quantity": quantity,
            "order_date": np.char.replace(np.datetime_as_string(moment, unit="m"), "T", " ").astype(object),
            "price": shelf.price[product],
            "customer_id": customer,
        }
    )
