"""How much more often than others an item is bought again, against a twin that counts one buyer after the other."""

from fractions import Fraction

import numpy as np
import pytest

from ancf.data.repurchases import repurchase_rates

TODAY = 500


def rates(buyers, back):
    """Of items with so many earlier buyers, of whom so many came back, and two who are no earlier buyers."""
    items = np.repeat(np.arange(len(buyers), dtype=np.int32), np.add(buyers, 2))
    first, last = [], []
    for known, returned in zip(buyers, back, strict=True):
        first += [TODAY - 30] * known + [TODAY - 29] * 2
        last += [TODAY - 29] * returned + [TODAY - 30] * (known - returned) + [TODAY] * 2
    return repurchase_rates(items, np.array(first), np.array(last), TODAY, len(buyers) + 1)


def naive(buyers, back):
    share = Fraction(sum(back), sum(buyers))
    n = len(buyers) - 1
    spread = sum((Fraction(came, known) - share) ** 2 * known for known, came in zip(buyers, back, strict=True))
    pairs = sum(buyers) - Fraction(sum(known * known for known in buyers), sum(buyers)) - n
    correlation = (spread / (share * (1 - share)) - n) / pairs
    if correlation <= 0:
        return [1.0] * (n + 2)
    smoothing = max(1 / correlation - 1, 20)
    found = [(came + smoothing * share) / (known + smoothing) / share for known, came in zip(buyers, back, strict=True)]
    return [float(each) for each in [*found, Fraction(1)]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("differ", [0.0, 0.05, 0.5])
def test_rates_are_those_of_the_formula(seed, differ):
    draws = np.random.default_rng(seed)
    buyers = draws.integers(1, 60, 40).tolist()
    likely = np.clip(0.3 + differ * draws.normal(size=40), 0, 1)
    back = [int(draws.binomial(known, p)) for known, p in zip(buyers, likely, strict=True)]
    assert np.allclose(rates(buyers, back), naive(buyers, back), rtol=1e-9)


def test_where_items_differ_by_no_more_than_chance_all_are_alike():
    assert (rates([20, 20, 20], [5, 5, 5]) == 1).all()


def test_items_that_differ_more_are_taken_more_at_their_word():
    much, little, chance = (rates([400] * 2, [200 + more, 200 - more])[0] / (1 + more / 200) for more in (60, 20, 10))
    assert 1 > much > little > chance


@pytest.mark.parametrize(
    ("buyers", "back"), [([0], [0]), ([3, 4], [0, 0]), ([3, 4], [3, 4]), ([1, 1], [1, 0]), ([5], [2])]
)
def test_where_it_cannot_be_told_all_items_have_one(buyers, back):
    assert (rates(buyers, back) == 1).all()
