#!/usr/bin/env python3
"""Figures of a shop's lists before they are published. Exit code 1 and the word ALARM where a limit is passed.

    python monitor.py models/2024-12-01.ancf lists.csv --orders exports/2024-12-01.csv \\
        --stock stock/2024-12-01.txt --products products/2024-12-01.csv --limit coverage=0.4

MODEL is the night's model, which does not know today's orders. A share of today's orders, which may be few, passes its
limit when it is beyond it by more than two standard errors. Exit code 2: something cannot be read.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import ancf

# Name: whether the limit is the least or the most, the limit, and what to do when it is passed.
LIMITS = {
    "rows_used": ("least", 0.5, "look at the export: ancf describe ORDERS"),
    "unknown_customers": ("most", 0.6, "the ids may be written another way, or the model is old"),
    "unknown_products": ("most", 0.3, "the ids may be written another way, or the model is old"),
    "fit": ("least", 0.55, "what is bought has changed: train anew; if that is of no help, look at the export"),
    "since_training": ("most", 0.25, "train anew"),
    "coverage": ("least", 0.3, "most of the shop is in nobody's list: look at the rules and the stock"),
    "new_in_lists": ("most", 0.3, "new products crowd out the others: lower their boost"),
    "empty_lists": ("most", 0.01, "customers get nothing: look at the rules and the stock"),
    "sold_out": ("most", 0.0, "the lists are older than the stock: make them again"),
}
SAMPLES = {"rows_used", "unknown_customers", "unknown_products", "fit"}
NEW_DAYS = 14


class Figure(NamedTuple):
    value: float | None
    of: int
    """How many things it is a share of."""


def share(part: float, of: int) -> Figure:
    return Figure(part / of if of else None, of)


def measure(model_file: str, lists_file: str, orders: str, stock_file: str, products_file: str) -> dict[str, Figure]:
    model = ancf.load(model_file)
    today = ancf.read_interactions(orders, returns="keep")
    lists = pd.read_csv(lists_file, dtype=str, keep_default_na=False)
    products = pd.read_csv(products_file, dtype=str, keep_default_na=False)
    stock = set(Path(stock_file).read_text(encoding="utf-8").split())
    known_customers, known_products = set(map(str, model.user_ids_)), set(map(str, model.item_ids_))
    buyers, bought = set(map(str, today.user_ids)), set(map(str, today.item_ids))
    figures = {
        "rows_used": share(today.report.rows_used, today.report.rows_read),
        "unknown_customers": share(len(buyers - known_customers), len(buyers)),
        "unknown_products": share(len(bought - known_products), len(bought)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ancf.TrainingWarning)  # since_training says the same
        model.partial_fit(today)
    update = model.last_update_
    # What one customer buys hangs together, so it is a sample of customers.
    figures["fit"] = Figure(update.fit, len(buyers & known_customers))
    figures["since_training"] = share(update.since, update.trained)

    products["age"] = (
        pd.Timestamp(int(today.times.max()), unit="s").normalize() - pd.to_datetime(products["since"])
    ).dt.days
    new = set(products.loc[products["age"] < NEW_DAYS, "product_id"])
    listed = lists["item_id"]
    customers = set(map(str, model.user_ids_))
    figures["coverage"] = share(len(stock & set(listed)), len(stock))
    figures["new_in_lists"] = share(listed.isin(new).sum(), len(listed))
    figures["empty_lists"] = share(len(customers - set(lists["user_id"])), len(customers))
    figures["sold_out"] = share((~listed.isin(stock)).sum(), len(listed))
    return figures


def judge(figures: dict[str, Figure], limits: dict[str, float]) -> list[str]:
    """Print the figures; what is wrong with them."""
    alarms = []
    for name, (value, of) in figures.items():
        kind, _, remedy = LIMITS[name]
        bound = limits[name]
        print(f"{name:<18}{'     -' if value is None else f'{value:6.3f}'}  at {kind} {bound:g}, of {of:,}")
        if value is None or not of:
            continue
        slack = 2 * (bound * (1 - bound) / of) ** 0.5 if name in SAMPLES else 0.0
        if value < bound - slack if kind == "least" else value > bound + slack:
            alarms.append(f"{name} is {value:.3f}, at {kind} {bound:g} is allowed: {remedy}")
    return alarms


def limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(LIMITS)}")
    return name, float(number)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("lists")
    for name in ("orders", "stock", "products"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--limit", type=limit, action="append", default=[], metavar="NAME=NUMBER")
    given = parser.parse_args(arguments)
    limits = {name: number for name, (_, number, _) in LIMITS.items()} | dict(given.limit)
    try:
        figures = measure(given.model, given.lists, given.orders, given.stock, given.products)
    except (ancf.AncfError, OSError, KeyError) as error:
        print(f"ALARM unreadable: {error}", file=sys.stderr)
        return 2
    alarms = judge(figures, limits)
    for alarm in alarms:
        print(f"ALARM {alarm}", file=sys.stderr)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
