import numpy as np
import pytest

import ancf


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 80, 2500), (rng.pareto(1.2, 2500) * 8).astype(int) % 90
    items = np.where(rng.random(2500) < 0.7, (items // 3) * 3 + users % 3, items)
    part = rng.random(2500) < 0.7
    train = ancf.Interactions.from_ids(user=users[part], item=items[part])
    return train, ancf.Interactions.from_ids(user=users[~part], item=items[~part])
