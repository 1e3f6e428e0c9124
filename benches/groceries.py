#!/usr/bin/env python3
"""A fit on a table as a grocer has it: many products, few customers, long histories, everything bought again, times.

    python benches/groceries.py [--lines 1300000] [--items 68000] [--customers 2500]

Without options a small one. Prints seconds by the clock and of the processor, and the peak of memory.
"""

import argparse
import os
import resource
import time

import numpy as np

import ancf

DAYS = 700
DEPARTMENTS = 40
LINES_IN_BASKET = 10
HABITS = 80
HABIT_SHARE = 0.5
THREADS = 2


def zipf(rng, n_ranks, size, offset=10.0):
    """Ranks, of which the first are drawn most."""
    cumulative = np.cumsum(1 / (np.arange(n_ranks) + offset))
    return np.searchsorted(cumulative, rng.random(size) * cumulative[-1])


def groceries(n_lines=1_300_000, n_items=68_000, n_customers=2_500, seed=0):
    """Customers who like some departments have habits, half of their lines, and else take what is popular there."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0.0, 0.7, n_customers)
    customers = np.sort(rng.choice(n_customers, n_lines, p=activity / activity.sum()))
    favorites = rng.integers(0, DEPARTMENTS, (n_customers, 6))

    def fresh(customers):
        departments = favorites[customers, rng.integers(0, favorites.shape[1], len(customers))]
        return departments + DEPARTMENTS * zipf(rng, n_items // DEPARTMENTS, len(customers))

    items = fresh(customers)
    habits = fresh(np.repeat(np.arange(n_customers), HABITS)).reshape(n_customers, HABITS)
    usual = rng.random(n_lines) < HABIT_SHARE
    items[usual] = habits[customers[usual], zipf(rng, HABITS, int(usual.sum()))]
    baskets = np.cumsum(rng.random(n_lines) < 1 / LINES_IN_BASKET)
    times = 1_300_000_000 + rng.integers(0, DAYS * 86_400, baskets[-1] + 1)
    return ancf.Interactions.from_ids(user=customers, item=items, time=times[baskets])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=130_000)
    parser.add_argument("--items", type=int, default=6_800)
    parser.add_argument("--customers", type=int, default=1_000)
    options = parser.parse_args()
    table = groceries(options.lines, options.items, options.customers)
    pairs = len(table.to_csr().indices)
    wall, cpu = time.perf_counter(), time.process_time()
    ancf.ANCF(num_threads=THREADS).fit(table)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(table):,} lines, {pairs:,} pairs of {table.n_users:,} customers and {table.n_items:,} items, "
        f"{THREADS} threads, load {os.getloadavg()[0]:.1f}: {wall:.1f} s by the clock, {cpu:.1f} of the processor, "
        f"at most {peak:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
