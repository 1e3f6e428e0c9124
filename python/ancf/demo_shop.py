"""A realistic shop drawn from a seed: what ``ancf demo``, the examples and the tests learn from.

Three thousand customers, a thousand products in twelve categories, a year and a quarter of baskets. Customers have
tastes (a few categories, a style) that persist, products have a long-tailed popularity, a season and a launch day,
things of one design are bought together, favorites are bought again, some things come back. As in real tables there
are anonymous baskets, remarks in the name column, lines typed twice, zero quantities and lines without a product.

Drawn line by line in bulk: for each (category, style, segment, month) there is one table of cumulative
probabilities of products, and a line is one uniform number looked up in it. About 48,000 lines in a tenth of a second.
"""

from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FIRST_DAY = np.datetime64("2024-01-01")
DAYS = 456
N_SEGMENTS = 6
"""Groups of customers who like the same products; no column of the table names them."""
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
_COLORS = ("Red", "Blue", "Green", "Ivory", "Pink", "Black")
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
    catalog = _draw_catalog(rng, max(products, 2 * len(_CATEGORIES)))
    lines = _draw_lines(rng, catalog, max(customers, 10))
    return _add_faults(rng, lines, catalog)


def write_csv(target: str | PathLike[str] | IO[str], seed: int = 20240101, **sizes: int) -> None:
    """Write the shop's purchase table as a CSV file."""
    demo_shop(seed, **sizes).to_csv(target, index=False, lineterminator="\n")


def write_month(
    folder: str | PathLike[str],
    seed: int = 20240101,
    *,
    customers: int = 3000,
    products: int = 1000,
    first_day: str = "2024-11-25",
    days: int = 30,
) -> list[str]:
    """Write a month of the shop as its exports come: what was before it, and each day's orders, stock and products.

    The files are ``history.csv`` and, for each day, ``orders/DAY.csv`` (both with the columns of :func:`demo_shop`),
    ``stock/DAY.txt`` (ids of what is in stock in the morning, one a line) and ``products/DAY.csv`` (``product_id,
    product_name, category, price, since``: what is on sale, and since which day).

    One product in twenty comes new during the month. Others sell out, are not bought while they are, and are delivered
    again after some days. There are new customers, and categories sell by season, with the default days that before
    Christmas.

    Parameters
    ----------
    folder : path
        Made where it is not there; files of the same names are replaced.
    seed : int
        The same seed gives the same files.
    customers, products : int
        At least 10 and 24.
    first_day : str
        YYYY-MM-DD, in 2024 or the first months of 2025.
    days : int

    Returns
    -------
    list of str
        The days.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     days = write_month(folder, customers=50, products=48, days=3)
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['history.csv', 'orders', 'products', 'stock']
    >>> days
    ['2024-11-25', '2024-11-26', '2024-11-27']
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    catalog = _draw_catalog(rng, max(products, 2 * len(_CATEGORIES)))
    first = int((np.datetime64(first_day, "D") - FIRST_DAY).astype(int))
    lines = _draw_lines(rng, catalog, max(customers, 10))
    lines = lines[lines["minute"] < (first + days) * 1440]
    season = _season(catalog.category[lines["product"]], lines["minute"].to_numpy() // 1440 // 30)
    lines = lines[rng.random(len(lines)) * 1.15 < season]
    launch, lines = _launch_products(rng, lines, catalog, first, days)
    in_stock, lines = _sell_out(rng, lines, launch, first, days)
    orders = _add_faults(rng, lines, catalog)
    ordered_on = orders["order_date"].str[:10]

    place = Path(folder)
    for part in ("orders", "stock", "products"):
        (place / part).mkdir(parents=True, exist_ok=True)
    _write_lines(orders[ordered_on < first_day], place / "history.csv")
    names = [str(FIRST_DAY + first + day) for day in range(days)]
    table = pd.DataFrame(
        {
            "product_id": catalog.code,
            "product_name": catalog.name,
            "category": np.array(list(_CATEGORIES), object)[catalog.category],
            "price": catalog.price,
            "since": np.datetime_as_string(FIRST_DAY + launch).astype(object),
        }
    )
    for day, name in enumerate(names):
        _write_lines(orders[ordered_on == name], place / "orders" / f"{name}.csv")
        _write_lines(table[launch <= first + day], place / "products" / f"{name}.csv")
        stock = "".join(f"{code}\n" for code in catalog.code[in_stock[day]])
        (place / "stock" / f"{name}.txt").write_text(stock, encoding="utf-8", newline="\n")
    return names


def _write_lines(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")


class _Catalog:
    """Products as arrays of one entry each, ordered by category."""

    code: NDArray[np.object_]
    name: NDArray[np.object_]
    category: NDArray[np.int64]
    style: NDArray[np.int64]
    partner: NDArray[np.int64]
    """A product of the same design, bought along with it."""
    price: NDArray[np.float64]
    category_start: NDArray[np.int64]
    """Where each category begins, and where the last one ends."""
    tables: NDArray[np.float64]
    """Cumulative probabilities of a category's products, one table after the other for each (category, style, segment,
    month); those of table t lie between t and t + 1."""
    table_start: NDArray[np.int64]
    """Where each table begins in ``tables``."""


def _draw_catalog(rng: np.random.Generator, n: int) -> _Catalog:
    catalog = _Catalog()
    names = list(_CATEGORIES)
    share = 0.4 + rng.random(len(names))
    counts = np.maximum(2, np.floor(share / share.sum() * n).astype(np.int64))
    counts[0] += n - counts.sum()
    catalog.category_start = np.append(0, np.cumsum(counts))
    catalog.category = np.repeat(np.arange(len(names)), counts)
    within = np.arange(n) - catalog.category_start[catalog.category]
    # The six colors of a design are neighbors.
    design = within // len(_COLORS)
    catalog.partner = catalog.category_start[catalog.category] + np.minimum(
        design * len(_COLORS) + (within + 1) % len(_COLORS), counts[catalog.category] - 1
    )
    key = catalog.category * 1000 + design
    _, design_of = np.unique(key, return_inverse=True)
    n_designs = design_of.max() + 1
    catalog.style = _draw_indices(rng, np.array([0.25, 0.22, 0.18, 0.08, 0.12, 0.15]), n_designs)[design_of]
    finish = np.floor(rng.random(n_designs) * len(_FINISHES)).astype(np.int64)[design_of]
    catalog.name = np.array(
        [
            f"{STYLES[style]} {_COLORS[w % len(_COLORS)]} {_FINISHES[f]} {things[d % len(things)]}"
            + (f" No. {d // len(things) + 1}" if d >= len(things) else "")
            for style, w, f, d, things in zip(
                catalog.style,
                within,
                finish,
                design,
                (_CATEGORIES[names[c]][0] for c in catalog.category),
                strict=True,
            )
        ],
        object,
    )
    # Codes as shops have them: leading zeros, a letter for the color.
    catalog.code = np.array(
        [f"{210 + 37 * int(k):05d}{'ABCDEF'[w % 6] if w % 6 else ''}" for k, w in zip(design_of, within, strict=True)],
        object,
    )
    catalog.price = np.round(np.exp(rng.normal(1.4, 0.7, n_designs))[design_of] + 0.05, 2)

    popularity = (1.0 + np.floor(rng.random(n) * n)) ** -0.6 * np.exp(0.6 * rng.normal(size=n_designs))[design_of]
    launch = np.where(rng.random(n) < 0.2, rng.random(n) * 12, 0.0)
    months = np.arange(DAYS // 30 + 1)
    season = _season(catalog.category[:, None], months[None, :])
    available = np.where(months[None, :] >= launch[:, None], 1.0, 1e-6)
    segment_taste = np.exp(1.3 * rng.normal(size=(N_SEGMENTS, n_designs)))[:, design_of] * np.exp(
        0.5 * rng.normal(size=(N_SEGMENTS, n))
    )
    tables: list[NDArray[np.float64]] = []
    starts: list[int] = []
    position = 0
    for category in range(len(names)):
        members = slice(catalog.category_start[category], catalog.category_start[category + 1])
        for style in range(len(STYLES)):
            liking = np.where(catalog.style[members] == style, 1.0, 0.06) * popularity[members]
            chances = (liking * segment_taste[:, members])[:, None, :] * (season[members] * available[members]).T[None]
            cumulative = np.cumsum(chances, axis=2).reshape(N_SEGMENTS * len(months), -1)
            cumulative /= cumulative[:, -1:]
            tables.append((np.arange(len(cumulative))[:, None] + len(starts) + cumulative).ravel())
            starts += range(position, position + cumulative.size, cumulative.shape[1])
            position += cumulative.size
    catalog.tables, catalog.table_start = np.concatenate(tables), np.array(starts)
    return catalog


def _season(category: NDArray[np.int64], month: NDArray[np.int64]) -> NDArray[np.float64]:
    """How well a category sells in a month (0 is January): 1.15 in its best, 0.6 where it has none."""
    peak = np.array([best for _, best in _CATEGORIES.values()])[category]
    distance = np.abs((month % 12 + 1 - peak + 6) % 12 - 6)
    return np.where(peak > 0, 0.15 + np.exp(-0.5 * (distance / 1.5) ** 2), 0.6)


def _draw_indices(rng: np.random.Generator, chances: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(np.cumsum(chances / chances.sum()), rng.random(n)), len(chances) - 1)


def _expand(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For groups of these sizes one after the other: the group of each row, and its position within the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)


def _draw_lines(rng: np.random.Generator, catalog: _Catalog, n_customers: int) -> pd.DataFrame:
    """Clean lines: basket, day and minute, customer, product, quantity."""
    n_categories = len(_CATEGORIES)
    months = DAYS // 30 + 1
    # Tastes: chances of categories rise steeply for a few (a Dirichlet of small concentration by its gamma draws).
    taste = np.cumsum(rng.standard_gamma(0.25, (n_customers, n_categories)) + 1e-3, axis=1)
    taste /= taste[:, -1:]
    style = np.cumsum(rng.standard_gamma(0.2, (n_customers, len(STYLES))) + 1e-3, axis=1)
    style /= style[:, -1:]
    segment = np.floor(rng.random(n_customers) * N_SEGMENTS).astype(np.int64)
    is_trade = rng.random(n_customers) < 0.04
    joined = np.floor(DAYS * 0.85 * rng.random(n_customers) ** 1.6)
    activity = np.exp(rng.normal(0.9, 0.75, n_customers)) * np.where(is_trade, 4.0, 1.0) * (1.2 - joined / DAYS)
    n_baskets = np.minimum(1 + np.floor(activity).astype(np.int64), 80)

    customer, _ = _expand(n_baskets)
    day = np.floor(joined[customer] + rng.random(len(customer)) * (DAYS - joined[customer])).astype(np.int64)
    before_christmas = rng.random(len(customer)) < 0.15  # some visits move there
    day = np.where(
        before_christmas & (joined[customer] < 300),
        305 + np.floor(50 * rng.random(len(customer))).astype(np.int64),
        day,
    )
    minute = np.floor(8 * 60 + 12 * 60 * rng.random(len(customer))).astype(np.int64)
    # A customer's baskets in the order of time, so that "bought before" means what it says.
    order = np.lexsort((minute, day, customer))
    day, minute = day[order], minute[order]
    basket_theme = (rng.random(len(customer))[:, None] > taste[customer]).sum(1)
    mean_size = np.where(is_trade[customer], 9.0, 3.6)
    size = 1 + np.floor(rng.standard_exponential(len(customer)) * mean_size).astype(np.int64)

    basket, line_of_basket = _expand(np.minimum(size, 60))
    buyer = customer[basket]
    n = len(basket)
    own_category = (rng.random(n)[:, None] > taste[buyer]).sum(1)
    category = np.minimum(np.where(rng.random(n) < 0.6, basket_theme[basket], own_category), n_categories - 1)
    liked_style = np.minimum((rng.random(n)[:, None] > style[buyer]).sum(1), len(STYLES) - 1)
    table = ((category * len(STYLES) + liked_style) * N_SEGMENTS + segment[buyer]) * months + day[basket] // 30
    found = np.searchsorted(catalog.tables, table + rng.random(n), side="right")
    size_of = np.diff(catalog.category_start)[category]
    product = catalog.category_start[category] + np.minimum(found - catalog.table_start[table], size_of - 1)

    is_partner = (rng.random(n) < 0.14) & (line_of_basket > 0)
    product[is_partner] = catalog.partner[product[np.flatnonzero(is_partner) - 1]]
    n_earlier = np.arange(n) - np.searchsorted(buyer, buyer)
    is_repeat = (rng.random(n) < 0.16) & (n_earlier > 3)
    earlier = np.arange(n) - n_earlier + np.floor(rng.random(n) * n_earlier).astype(np.int64)
    product[is_repeat] = product[earlier[is_repeat]]

    quantity = 1 + np.floor(rng.standard_exponential(n) * 0.8).astype(np.int64)
    quantity = np.where(is_trade[buyer], quantity * np.where(rng.random(n) < 0.6, 12, 6), quantity)
    lines = pd.DataFrame(
        {
            "basket": basket,
            "minute": day[basket] * 1440 + minute[basket],
            "buyer": buyer,
            "product": product,
            "quantity": quantity,
        }
    )
    # Most of what is bought twice in a basket is one line of the receipt.
    return lines[~lines.duplicated(["basket", "product"]) | (rng.random(n) < 0.1)]


def _launch_products(
    rng: np.random.Generator, lines: pd.DataFrame, catalog: _Catalog, first: int, days: int
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """The day from which each product is on sale, a twentieth of the better half in the month; and the lines since."""
    n = len(catalog.code)
    product, day = lines["product"].to_numpy(), lines["minute"].to_numpy() // 1440
    launch = np.zeros(n, np.int64)
    sold = np.bincount(product[day >= first], minlength=n)
    better = np.argsort(-sold, kind="stable")[: n // 2]
    new = rng.choice(better, max(n // 20, 2), replace=False)
    launch[new] = first + np.floor(rng.random(len(new)) * max(1, days * 2 // 3)).astype(np.int64)
    return launch, lines[day >= launch[product]]


def _sell_out(
    rng: np.random.Generator, lines: pd.DataFrame, launch: NDArray[np.int64], first: int, days: int
) -> tuple[NDArray[np.bool_], pd.DataFrame]:
    """What is in stock on the morning of each day of the month (days × products), and the lines that could be sold.

    A product begins with what it sells in 2 to 32 days, is sold for the whole day on which that ends, and comes again
    after 3 to 9 days.
    """
    n = len(launch)
    product, day, quantity = (lines[name].to_numpy() for name in ("product", "minute", "quantity"))
    day = day // 1440 - first
    in_month = day >= 0
    daily = np.bincount(product[in_month], quantity[in_month], minlength=n) / days
    units = np.ceil(daily * (2 + 30 * rng.random(n))) + 1
    wait = 3 + np.floor(7 * rng.random(n)).astype(np.int64)
    back = np.zeros(n, np.int64)
    in_stock = np.zeros((days, n), np.bool_)
    for today in range(days):
        units = np.where((units <= 0) & (back == today), np.ceil(15 * daily) + 1, units)
        in_stock[today] = (units > 0) & (launch <= first + today)
        of_today = (day == today) & in_stock[today, product]
        units -= np.bincount(product[of_today], quantity[of_today], minlength=n)
        back = np.where((units <= 0) & in_stock[today], today + wait, back)
    return in_stock, lines[~in_month | in_stock[np.maximum(day, 0), product]]


def _add_faults(rng: np.random.Generator, lines: pd.DataFrame, catalog: _Catalog) -> pd.DataFrame:
    """The lines as a real table has them: with returns, anonymous baskets, and mistakes of those who typed them."""
    n = len(lines)
    returned = lines[rng.random(n) < 0.018].copy()
    returned["minute"] += 1440 * np.floor(2 + 20 * rng.random(len(returned))).astype(np.int64)
    returned["quantity"] = -np.ceil(returned["quantity"] * np.where(rng.random(len(returned)) < 0.6, 1.0, 0.5)).astype(
        np.int64
    )
    returned["basket"] += int(lines["basket"].max()) + 1
    duplicated = lines[rng.random(n) < 0.003]
    lines = pd.concat([lines, returned, duplicated]).sort_values(["minute", "basket"], kind="stable", ignore_index=True)
    n = len(lines)

    baskets, order = np.unique(lines["basket"].to_numpy(), return_inverse=True)
    first_seen = np.full(len(baskets), n)
    np.minimum.at(first_seen, order, np.arange(n))
    number = np.empty(len(baskets), np.int64)
    number[np.argsort(first_seen, kind="stable")] = np.arange(len(baskets))
    invoice = 500001 + number[order]
    is_return = lines["quantity"].to_numpy() < 0
    is_anonymous = (rng.random(len(baskets)) < 0.12)[order] & ~is_return

    product = lines["product"].to_numpy()
    name = catalog.name[product].copy()
    is_remark = rng.random(n) < 0.002
    name[is_remark] = np.array(_REMARKS, object)[np.floor(rng.random(is_remark.sum()) * len(_REMARKS)).astype(np.int64)]
    has_spaces = rng.random(n) < 0.01
    name[has_spaces] = name[has_spaces] + "  "
    code = catalog.code[product].copy()
    code[rng.random(n) < 0.0005] = ""
    quantity = lines["quantity"].to_numpy().copy()
    quantity[(rng.random(n) < 0.0008) & ~is_return] = 0
    customer_id = np.array([f"{7 * int(buyer) + 10007:06d}" for buyer in range(int(lines["buyer"].max()) + 1)], object)
    customer = customer_id[lines["buyer"].to_numpy()]
    customer[is_anonymous] = np.where(rng.random(is_anonymous.sum()) < 0.1, "-1", "")
    time = FIRST_DAY.astype("M8[m]") + lines["minute"].to_numpy().astype("m8[m]")
    return pd.DataFrame(
        {
            "order_id": np.where(is_return, "R", "") + invoice.astype(str).astype(object),
            "product_id": code,
            "product_name": name,
            "category": np.array(list(_CATEGORIES), object)[catalog.category[product]],
            "quantity": quantity,
            "order_date": np.char.replace(np.datetime_as_string(time, unit="m"), "T", " ").astype(object),
            "price": catalog.price[product],
            "customer_id": customer,
        }
    )
