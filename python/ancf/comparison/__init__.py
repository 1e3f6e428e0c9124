"""Several models on the same users: who is better, by how much, and whether that is more than luck."""

from ancf.comparison.comparing import compare as compare
from ancf.comparison.pairs import Difference as Difference
from ancf.comparison.result import Comparison as Comparison
