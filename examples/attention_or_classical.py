#!/usr/bin/env python3
"""Does attention pay? The same shop, the same split, the same lists: attention against classical methods.

Cell by cell in an editor that knows ``# %%``, or whole: ``python examples/attention_or_classical.py``.
"""

# %% The purchases of a made-up shop; ``ancf.read_interactions("purchases.csv")`` takes your own.
import sys

import ancf
from ancf.demo_shop import demo_shop

customers = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
data = ancf.read_interactions(demo_shop(customers=customers))
print(data.report, end="\n\n")

# %% Cut by time, as the shop will meet it: learn from the past, be measured on what came after.
train, validation, test = ancf.time_split(data, (0.7, 0.1, 0.2))

# %% The same model with and without what is in question, and the classics. Everything but that stays equal.
base = {"epochs": 10, "neighbor_weight": 1.0, "serving_exponent": 0.5}
models = {
    "popularity": ancf.Popular(),
    "item-kNN": ancf.ItemKNN(),
    "every purchase counts the same": ancf.ANCF(attention="mean", item_attention=False, **base),
    "attention over purchases": ancf.ANCF(attention="degree", item_attention=False, **base),
    "attention on both sides": ancf.ANCF(attention="degree", **base),
    "vectors alone": ancf.ANCF(attention="degree", **{**base, "neighbors": 0}),
}
result = ancf.compare(
    models, train, test, metrics=["ndcg@10", "recall@20", "hit@10", "coverage@10"], baseline="item-kNN"
)

# %% Tables, each difference with its interval and tests, and the sentence that says whether the best is more than luck
print(result)
