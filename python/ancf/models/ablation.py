"""The attention of ``ANCF`` switched piece by piece, everything else the same: what does each piece add?

A user's vector is the only thing in which the first five differ. The last one keeps the user of "degree" and changes
how the two vectors make a score.
"""

from typing import Any, NamedTuple

from ancf.errors import InvalidParameterError
from ancf.models.ancf import ANCF
from ancf.models.ancf.option_checks import check_options
from ancf.models.base import Recommender


class Piece(NamedTuple):
    """One kind of attention."""

    adds: str
    """What it adds to the piece that it is compared with, as half a sentence."""
    over: str | None
    """The label of that piece; None for the first."""
    options: dict[str, Any]
    """The options of ``ANCF`` that make it."""


PIECES = {
    "no history": Piece(
        "a vector for each user, learned like those of the items",
        None,
        {"attention": "none", "user_factors": True},
    ),
    "mean": Piece(
        "the user is what they bought, every purchase counting the same",
        "no history",
        {"attention": "mean"},
    ),
    "degree": Piece(
        "popular items count less in a history, by one over the root of their users",
        "mean",
        {"attention": "degree"},
    ),
    "learned": Piece(
        "how much an item counts in histories is learned beside that",
        "degree",
        {"attention": "learned"},
    ),
    "target": Piece(
        "each candidate weighs the history its own way",
        "learned",
        {"attention": "target"},
    ),
    "factor": Piece(
        "the history as in degree, and each pair weighs the factors of its product its own way",
        "degree",
        {"attention": "degree", "factor_attention": True},
    ),
}
"""By label, in the order in which they are shown."""

# What all can do: target and factor attention know no cosine and no item-item weights, and one trainer learns all six,
# with the same negatives in a step. Few of them: inner products without a temperature soon overfit against many, and
# what target attention takes grows with them (docs/quality.md).
_SAME: dict[str, Any] = {"loss": "softmax", "similarity": "product", "neighbors": 0, "negatives": 64}
_PIECE_OPTIONS = frozenset(name for piece in PIECES.values() for name in piece.options)


def attention_pieces(**common: Any) -> dict[str, Recommender]:
    """One unfitted model for each piece of attention, alike in all else.

    All have the defaults of ``ANCF``, but without its item-item weights and with inner products in place of cosines,
    which not every attention can have. So none of them is the default ``ANCF``, which is stronger.

    Parameters
    ----------
    **common
        Options of ``ANCF`` for all of them: ``factors=32, random_state=1``.

    Returns
    -------
    dict, label → model
        In the order of ``PIECES``, which says in words what each adds, and over which.

    Raises
    ------
    InvalidParameterError
        If an option is one of those that make the pieces, or does not go with one of them.

    Examples
    --------
    >>> from ancf.models.ablation import PIECES, attention_pieces
    >>> models = attention_pieces(factors=16, epochs=4)
    >>> list(models)
    ['no history', 'mean', 'degree', 'learned', 'target', 'factor']
    >>> PIECES["degree"].over, models["degree"].get_params()["attention"]
    ('mean', 'degree')
    """
    for name in common:
        if name in _PIECE_OPTIONS:
            raise InvalidParameterError(f"{name}={common[name]!r} is what the pieces differ in. Leave it out.")
    found: dict[str, Recommender] = {}
    for label, piece in PIECES.items():
        model = ANCF(**{**_SAME, **common, **piece.options})
        try:
            check_options(model)
        except InvalidParameterError as error:
            raise InvalidParameterError(f'the piece "{label}" of attention: {error}') from None
        found[label] = model
    return found
