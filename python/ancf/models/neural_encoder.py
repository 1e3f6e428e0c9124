"""Whom ``GMF``, ``MLP`` and ``NeuMF`` take somebody for who was not there in training."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.scoring.histories import Histories, ones
from ancf.scoring.parts import Arrays, EncodedUsers
from ancf.scoring.scorer import Encoder, Scorer

Floats = NDArray[np.float32]


class NeuralEncoder(Encoder):
    """The user that explains a history best, weighed against how the users of training are spread."""

    def __init__(self, mean: Floats, deviation: Floats, seed: int, negatives: int) -> None:
        self.mean, self.deviation, self.seed, self.negatives = mean, deviation, seed, negatives

    @classmethod
    def of_users(cls, users: Floats, seed: int, negatives: int) -> Self:
        """For the users of training as they are served."""
        wide = users.astype(np.float64)
        return cls(wide.mean(axis=0).astype(np.float32), wide.std(axis=0).astype(np.float32), seed, negatives)

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        return EncodedUsers(
            _native.neural_user_vectors(
                (histories.indptr, histories.items, ones(len(histories.items))),
                scorer.item_vectors,
                self.mean,
                self.deviation,
                negatives=self.negatives,
                seed=self.seed,
                layers=scorer.layers,
                num_threads=num_threads,
            )
        )

    def base_terms(
        self, scorer: Scorer, vector: NDArray[np.float32], item: int, explained: float | None
    ) -> dict[str, float]:
        """The logit's parts; what each purchase adds goes through training, and is in none of them."""
        if scorer.layers is not None:
            return super().base_terms(scorer, vector, item, explained)
        parts = vector.astype(np.float64) * scorer.item_vectors[item]
        return {"the product of the embeddings": float(parts[:-1].sum()), "the bias": float(parts[-1])}

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        return {"fold_in.mean": self.mean, "fold_in.deviation": self.deviation}, {"seed": self.seed}
