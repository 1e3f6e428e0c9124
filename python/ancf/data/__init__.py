"""A table in, ``Interactions`` out: reading, cleaning, ids, splits, and the account of every row."""
