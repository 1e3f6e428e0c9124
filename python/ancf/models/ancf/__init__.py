"""``ANCF``: the estimator, its options, its two trainers, and what they serve."""

from ancf.models.ancf.estimator import ANCF

__all__ = ["ANCF"]
