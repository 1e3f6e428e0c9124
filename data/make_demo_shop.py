#!/usr/bin/env python3
"""Write the purchase table of the demo shop to a CSV file: ``python data/make_demo_shop.py shop.csv``."""

import argparse

from ancf.demo_shop import write_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="where the table goes")
    parser.add_argument("--seed", type=int, default=20240101)
    parser.add_argument("--customers", type=int, default=3000)
    parser.add_argument("--products", type=int, default=1000)
    options = parser.parse_args()
    write_csv(options.path, options.seed, customers=options.customers, products=options.products)


if __name__ == "__main__":
    main()
