"""Products that nobody has bought: how well attributes place them, and what known products lose by it.

    python benches/new_products.py PURCHASES.csv [--seeds 0 1 2] [--lightfm]

A tenth of the products is taken out of training entirely, with their names as the only attribute; the latest tenth of
the other purchases is held out as well. Measured are Recall@20 and NDCG@20 of the purchases of the new products by
known customers, among the new products and among all, and what the held-out purchases of known products lose when new
ones are listed beside them. Prints a table; writes nothing.

Baselines: the most popular by their 20 most alike; the sum over the 10 most alike things of the customer's history
(TF-IDF of words and of characters, by scikit-learn); LightFM with names as item features, where it is installed.
"""

import argparse
import time

import numpy as np

import ancf

METRICS = ["recall@20", "ndcg@20"]


def hold_out(data, seed):
    """Training purchases, those of new items by users of training, the latest of the others, and the new items' ids."""
    draws = np.random.Generator(np.random.PCG64(seed))
    is_new = np.zeros(data.n_items, bool)
    is_new[draws.permutation(data.n_items)[: data.n_items // 10]] = True
    known = data[~is_new[data.items]]
    train, test = ancf.time_split(known, (0.9, 0.1)) if data.times is not None else ancf.random_split(known, (0.9, 0.1))
    return train, data[is_new[data.items]], test, data.item_ids.values[is_new]


def figures(ids, users, truth):
    """Mean Recall@20 and NDCG@20 of lists of ids against a dict of wanted ids."""
    discounts = 1 / np.log2(np.arange(2, 22))
    recall, ndcg = [], []
    for user, listed in zip(users, ids, strict=True):
        hits = np.array([each in truth[user] for each in listed], float)
        recall.append(hits.sum() / len(truth[user]))
        ndcg.append((hits * discounts[: len(hits)]).sum() / discounts[: min(20, len(truth[user]))].sum())
    return float(np.mean(recall)), float(np.mean(ndcg))


def wanted(test, had):
    """What each known user bought of a test part, without what they had in training."""
    found = {}
    pairs = zip(test.user_ids.take(test.users).tolist(), test.item_ids.take(test.items).tolist(), strict=True)
    for user, item in pairs:
        if user in had and item not in had[user]:
            found.setdefault(user, set()).add(item)
    return found


def baselines(train, names, new, users, truth, with_lightfm):
    """The figures of other ways among the new items."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    all_ids = np.concatenate([train.item_ids.values, new])
    texts = [names.get(each) or "" for each in all_ids]
    parts = [
        TfidfVectorizer(token_pattern=r"\w+").fit_transform(texts),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform(texts),
    ]
    vectors = sparse.hstack(parts).tocsr() / np.sqrt(2)
    n_known, n_new = train.n_items, len(new)
    alike = (vectors[n_known:] @ vectors[:n_known].T).toarray()
    rows = train.user_ids.positions(users)
    pairs = train.to_csr()
    matrix = sparse.csr_matrix((np.ones(len(pairs.indices)), pairs.indices, pairs.indptr), (train.n_users, n_known))

    def listed(scores):
        return new[np.argsort(-scores, axis=1, kind="stable")[:, :20]]

    counts = np.bincount(pairs.indices, minlength=n_known)
    popular = np.array([counts[np.argsort(-row, kind="stable")[:20]].sum() for row in alike])
    yield "popularity of the 20 most alike", figures(listed(np.tile(popular, (len(rows), 1))), users, truth)
    scores = np.zeros((len(rows), n_new))
    for at, row in enumerate(rows):
        mine = np.sort(alike[:, matrix[row].indices], axis=1)[:, -10:]
        scores[at] = mine.sum(axis=1)
    yield "the 10 most alike of the history", figures(listed(scores), users, truth)
    if with_lightfm:
        from lightfm import LightFM

        # Words alone did better than with an embedding for each known item beside them (seed 100).
        items = parts[0].tocsr().astype(np.float32)
        wide = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), (train.n_users, n_known + n_new))
        model = LightFM(64, loss="warp", random_state=0).fit(wide.tocoo(), item_features=items, epochs=30)
        places = np.arange(n_known, n_known + n_new)
        scores = np.array([model.predict(int(row), places, item_features=items) for row in rows])
        yield "LightFM, WARP", figures(listed(scores), users, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("purchases")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lightfm", action="store_true")
    options = parser.parse_args()
    data = ancf.read_interactions(options.purchases, on_bad_rows="drop")
    assert data.item_names is not None
    names = dict(zip(data.item_ids.values.tolist(), data.item_names.tolist(), strict=True))
    kinds = {"name": "text"}
    table = ancf.read_features({"item_id": data.item_ids.values, "name": data.item_names}, kinds=kinds)
    for seed in options.seeds:
        train, of_new, of_known, new = hold_out(data, seed)
        began = time.process_time()
        model = ancf.ANCF(random_state=seed).fit(train.with_features(item_features=table))
        seconds = time.process_time() - began
        placed = np.array([each for each in new if each in model.item_ids_], object)
        pairs = zip(train.user_ids.take(train.users).tolist(), train.item_ids.take(train.items).tolist(), strict=True)
        had: dict[object, set[object]] = {}
        for user, item in pairs:
            had.setdefault(user, set()).add(item)
        truth, old_truth = wanted(of_new, had), wanted(of_known, had)
        users, old_users = list(truth), list(old_truth)
        print(f"\nseed {seed}: {len(new)} new of {data.n_items} items, {len(placed)} have a place; {len(users)} users;")
        print(f"{seconds:.0f} s of the processor to train; {model._scorer.encoder.trained.attributes}")
        print(f"{'':44}  among new    among all")
        own = figures(model.recommend(users, N=20, items=placed).ids, users, truth)
        everything = figures(model.recommend(users, N=20).ids, users, truth)
        print(f"{'ANCF, names':44}  {own[0]:.3f}/{own[1]:.3f}  {everything[0]:.3f}/{everything[1]:.3f}", flush=True)
        for label, (recall, ndcg) in baselines(train, names, new, users, truth, options.lightfm):
            print(f"{label:44}  {recall:.3f}/{ndcg:.3f}", flush=True)
        without = figures(model.recommend(old_users, N=20, filter_items=placed).ids, old_users, old_truth)
        beside = figures(model.recommend(old_users, N=20).ids, old_users, old_truth)
        lost = [100 * (1 - new_figure / old) for old, new_figure in zip(without, beside, strict=True)]
        print(f"{'known items, alone':44}  {without[0]:.4f}/{without[1]:.4f}")
        share = f"({lost[0]:.1f} %, {lost[1]:.1f} % lost)"
        print(f"{'known items, new ones beside them':44}  {beside[0]:.4f}/{beside[1]:.4f} {share}")


if __name__ == "__main__":
    main()
