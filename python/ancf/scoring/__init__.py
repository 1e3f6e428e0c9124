"""A fitted model's arrays, and every answer that is made of them; knows no model class."""

from ancf.scoring.parts import EncodedUsers
from ancf.scoring.scorer import Encoder, Scorer

__all__ = ["EncodedUsers", "Encoder", "Scorer"]
