"""Errors of rating models by five folds, as the documentation of Surprise reports them for MovieLens.

    python benches/ratings.py [FILE]

FILE holds one rating a line: user, item, rating, separated by tabs, commas or "::" (``u.data`` of MovieLens 100K,
``ratings.dat`` of 1M). Five random folds; the mean RMSE and MAE, predictions clipped to the range of the ratings, as
Surprise clips them. A user or item without a rating in training is predicted by the mean and the other's bias.
Surprise's SVD: RMSE .934, MAE .737 on MovieLens 100K.

Without FILE the ratings are generated: a mean, biases, eight factors and noise with a standard deviation of .9, rounded
to 1..5. The noise and the rounding are the lowest error there is: some .93.
"""

import sys
import time
from pathlib import Path

import numpy as np

import ancf

FOLDS = 5


def read(path):
    """User, item and rating of each line."""
    rows = [
        line.replace("::", "\t").replace(",", "\t").split("\t")[:3] for line in path.read_text().splitlines() if line
    ]
    users, items, ratings = zip(*rows, strict=True)
    return np.array(users), np.array(items), np.array(ratings, float)


def generated(n_users=943, n_items=1682, n=100_000, seed=1):
    """Ratings of the size of MovieLens 100K."""
    rng = np.random.default_rng(seed)
    keys = rng.choice(n_users * n_items, n, replace=False)
    users, items = keys // n_items, keys % n_items
    p, q = rng.normal(0, 0.45, (n_users, 8)), rng.normal(0, 0.45, (n_items, 8))
    score = 3.5 + rng.normal(0, 0.4, n_users)[users] + rng.normal(0, 0.5, n_items)[items] + (p[users] * q[items]).sum(1)
    return users, items, np.clip(np.rint(score + rng.normal(0, 0.9, n)), 1, 5)


def predict(model, users, items):
    """Ratings of pairs of which either side may be unknown, clipped by nobody yet."""
    scorer = model._fitted()
    u, i = model.user_ids_.positions(users), model.item_ids_.positions(items)
    mean = scorer.encoder.mean
    user_part = np.where(u >= 0, scorer.user_shift[u], mean)
    item_part = np.where(i >= 0, scorer.item_vectors[i, -1], 0.0)
    both = np.flatnonzero((u >= 0) & (i >= 0))
    found = user_part + item_part
    found[both] = model.predict(users[both], items[both])
    return found


def main(path=None):
    users, items, ratings = read(Path(path)) if path else generated()
    folds = np.random.default_rng(0).permutation(len(ratings)) % FOLDS
    errors, seconds = [], []
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        data = ancf.Interactions.from_ids(user=users[train], item=items[train], weight=ratings[train])
        start = time.perf_counter()
        model = ancf.SVD(random_state=fold).fit(data)
        seconds.append(time.perf_counter() - start)
        found = np.clip(predict(model, users[test], items[test]), ratings.min(), ratings.max())
        difference = found - ratings[test]
        errors.append((np.sqrt(np.mean(difference**2)), np.mean(np.abs(difference))))
        print(f"fold {fold + 1}: RMSE {errors[-1][0]:.4f}, MAE {errors[-1][1]:.4f}", flush=True)
    rmse, mae = np.mean(errors, 0)
    print(f"ancf.SVD: RMSE {rmse:.4f}, MAE {mae:.4f}, {np.median(seconds):.2f} s of training a fold")


if __name__ == "__main__":
    main(*sys.argv[1:2])
