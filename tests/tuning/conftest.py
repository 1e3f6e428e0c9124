"""One small shop for all tests of tuning: its purchases by time, with a test part."""

import pytest

import ancf
from ancf.demo_shop import demo_shop


@pytest.fixture(scope="session")
def parts():
    """(train, test), the last fifth by time."""
    return ancf.time_split(ancf.read_interactions(demo_shop(customers=150, products=60)), (0.8, 0.2))


@pytest.fixture(scope="session")
def train(parts):
    return parts[0]


@pytest.fixture(scope="session")
def test_part(parts):
    return parts[1]
