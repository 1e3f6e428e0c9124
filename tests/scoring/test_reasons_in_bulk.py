"""The reasons of everybody's lists are those of ``explain``, number by number, whatever is asked for beside them."""

import numpy as np
import pytest

import ancf
from ancf.data.arrays import inner_products
from ancf.scoring.explain import top_reasons
from ancf.scoring.results import TopN

RNG = np.random.default_rng(5)
DATA = ancf.Interactions.from_ids(
    user=RNG.integers(0, 60, 900),
    item=RNG.integers(0, 40, 900),
    weight=RNG.integers(1, 5, 900),
    time=1_600_000_000 + RNG.integers(0, 10**7, 900),
)
MODELS = {
    "ANCF": ancf.ANCF(factors=8, epochs=2),
    "with item-item weights": ancf.ANCF(factors=8, epochs=2, neighbors=10, repeat_weight=5.0),
    "target attention": ancf.ANCF(factors=8, epochs=1, attention="target", loss="bpr", neighbors=0),
    "learned attention": ancf.ANCF(factors=8, epochs=1, attention="learned", loss="bpr", similarity="cosine"),
    "without attention": ancf.ANCF(factors=8, epochs=1, attention="none", loss="bpr", user_factors=True),
    "ALS": ancf.ALS(factors=8, epochs=2),
    "ItemKNN": ancf.ItemKNN(),
    "UserKNN": ancf.UserKNN(),
    "EASE": ancf.EASE(),
    "LastBought": ancf.LastBought(),
    "Popular": ancf.Popular(),
}


@pytest.fixture(scope="module", params=MODELS)
def named(request):
    return request.param, MODELS[request.param].clone().fit(DATA)


@pytest.mark.parametrize("n", [1, 3, 100])
def test_reasons_of_many_are_those_of_one_item_alone(named, n):
    name, model = named
    lists = model.recommend_all(7, filter_already_liked_items=False)
    scorer = model._fitted()
    rows = np.arange(len(scorer.user_ids))
    top = TopN(*scorer.ranker.top_n(rows, 7, filter_seen=False))
    found = top_reasons(scorer, rows, top, n)
    assert len(found) == lists.n_rows
    some = 0
    for at, (reasons, row) in enumerate(zip(found, lists.rows(), strict=True)):
        if at % 5:
            continue
        alone = model.explain(row.user_id, row.item_id).reasons[:n]
        assert [(scorer.item_ids.values[item], adds) for item, adds in reasons] == [
            (reason.item_id, reason.contribution) for reason in alone
        ]
        some += len(reasons)
    assert some or name in ("Popular", "without attention")


@pytest.mark.parametrize("d", [1, 2, 7, 8, 64, 129, 300])
def test_an_inner_product_has_the_same_bits_whatever_stands_beside_it(d):
    rows, others = RNG.standard_normal((50, d)).astype(np.float32), RNG.standard_normal((9, d)).astype(np.float32)
    together = inner_products(rows, others)
    for row in range(50):
        for other in range(9):
            assert inner_products(rows[row : row + 1], others[other : other + 1])[0, 0] == together[row, other]
            assert inner_products(rows[row::7], others[other::3])[0, 0] == together[row, other]
