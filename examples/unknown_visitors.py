#!/usr/bin/env python3
"""Lists for people nobody has seen before: the user is the history, so a basket is enough.

``python examples/unknown_visitors.py``
"""

import sys

import ancf
from ancf.demo_shop import demo_shop

customers = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
data = ancf.read_interactions(demo_shop(customers=customers))

# A tenth of the customers, with all they have ever bought, stays unknown to the model.
known, strangers = ancf.user_split(data, (0.9, 0.1))
model = ancf.ANCF(epochs=10).fit(known)

# One visitor with two things in the basket.
basket = model.item_ids_.values[:2].tolist()
print(f"in the basket: {', '.join(basket)}")
print(model.recommend_for_history(basket, N=5), end="\n\n")

# Why the first of them?
best = model.recommend_for_history(basket, N=1).ids[0]
print(model.explain(history=basket, item=best), end="\n\n")

# How well does that work? Each stranger's list from all purchases but the last, looked up in it.
earlier, last = ancf.leave_last_out(strangers, on_leak="ignore")
indptr, items, _ = earlier.to_csr()
histories = {user: earlier.item_ids.take(items[indptr[user] : indptr[user + 1]]).tolist() for user in set(last.users)}
wanted = {
    user: set(last.item_ids.take(last.items[last.users == user]).tolist()) - set(histories[user]) for user in histories
}
asked = [user for user in sorted(histories) if histories[user] and wanted[user]]
lists = model.recommend_for_history([histories[user] for user in asked], N=10, on_unknown="skip")
popular = ancf.Popular().fit(known).recommend_for_history([histories[user] for user in asked], N=10, on_unknown="skip")
for name, answer in (("attention", lists), ("popularity", popular)):
    hits = sum(bool(wanted[user] & set(row)) for user, row in zip(asked, answer.ids, strict=True))
    print(f"{name:11} finds the next new thing of {hits} of {len(asked)} strangers within ten")
