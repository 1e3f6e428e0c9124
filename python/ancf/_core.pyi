import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

_Csr = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]

__all__ = [
    "AlsTrainer",
    "BprTrainer",
    "FileBytes",
    "IdIndex",
    "LightGcnTrainer",
    "ListMaker",
    "ListRules",
    "Network",
    "NetworkTrainer",
    "NeuralTrainer",
    "Ranker",
    "SoftmaxShard",
    "SoftmaxTrainer",
    "SvdTrainer",
    "TableScanner",
    "TextCoder",
    "UserNeighbors",
    "__version__",
    "_panic_for_tests",
    "als_user_vectors",
    "attention_weights",
    "auc",
    "bpr_user_vectors",
    "canonical_events",
    "common_users",
    "ease_weights",
    "gram_parts",
    "gram_rows",
    "history_weights",
    "item_logits",
    "item_neighbors",
    "item_priors",
    "join_ids",
    "list_properties",
    "load_model",
    "measure_roofline",
    "mixed_ndcg",
    "model_to_bytes",
    "neighbor_mean_squares",
    "neural_user_vectors",
    "parse_model",
    "ranking_metrics",
    "read_get",
    "recency_weights",
    "replace_targets",
    "resolve_num_threads",
    "ridge_neighbors",
    "ridge_targets",
    "sample_negatives",
    "save_model",
    "score_scales",
    "serving_vectors",
    "sets_of_rows",
    "simd_levels",
    "slim_weights",
    "softmax_passes_in",
    "softmax_random_start",
    "softmax_slice",
    "sparse_history",
    "spectral_begin",
    "spectral_finish",
    "spectral_orthonormal",
    "spectral_rounds",
    "strongest_of_sources",
    "svd_user_vectors",
    "union_of_sets",
    "user_vectors",
    "vector_mean_squares",
    "weighted_sums",
]

__version__: str

@final
class TableScanner:
    def __new__(
        cls, delimiter: int, n_fields: int, wanted: list[tuple[int, str]], size: int = 0, comment: int | None = None
    ) -> TableScanner: ...
    @property
    def rows(self) -> int: ...
    def feed(self, block: bytes, num_threads: int | None = None) -> None: ...
    def finish(
        self, num_threads: int | None = None
    ) -> tuple[
        int,
        list[dict[str, npt.NDArray[Any]]],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
    ]: ...
    def take_rows(
        self, num_threads: int | None = None
    ) -> tuple[
        int,
        list[dict[str, npt.NDArray[Any]]],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
    ]: ...

@final
class FileBytes:
    @property
    def __array_interface__(self) -> dict[str, Any]: ...

@final
class IdIndex:
    @staticmethod
    def of_texts(offsets: npt.NDArray[np.int64], joined: npt.NDArray[np.uint8], has_texts: bool) -> IdIndex: ...
    @staticmethod
    def of_numbers(values: npt.NDArray[np.int64]) -> IdIndex: ...
    @property
    def is_distinct(self) -> bool: ...
    @property
    def is_utf8(self) -> bool: ...
    def position(self, raw: object) -> int: ...
    def positions(self, ids: list[Any]) -> npt.NDArray[np.int64]: ...
    def positions_of_numbers(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...

@final
class ListMaker:
    def __new__(
        cls,
        ranker: Ranker,
        user_ids: IdIndex,
        item_ids: IdIndex,
        texts: tuple[list[str], list[str | None] | None, list[str | None] | None],
        seen: _Sets,
        *,
        has_all: bool,
        purchases: _Purchases | None,
        counted: bool,
        folding: _Folding | None,
        weights: Mapping[str, tuple[float, float, int, str | None, bool]],
        seq: int | None,
        until: int | None,
        ending: bytes,
    ) -> ListMaker: ...
    def make(
        self, user_id: str, events: list[tuple[str, str, float, int, int]], n: int, exclude_seen: bool
    ) -> tuple[bool, bytes] | None: ...

@final
class TextCoder:
    def __new__(cls) -> TextCoder: ...
    def add(self, offsets: npt.NDArray[np.int64], joined: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]: ...
    def finish(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int32]]: ...

def canonical_events(
    users: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64] | None,
    n_users: int,
    n_items: int,
    num_threads: int | None = None,
) -> tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.int64] | None,
    npt.NDArray[np.int64],
]: ...
def _panic_for_tests(place: str, num_threads: int | None = None) -> None: ...
def resolve_num_threads(num_threads: int | None = None) -> int: ...
def ridge_neighbors(
    interactions: _Csr,
    n_items: int,
    *,
    candidates: int,
    neighbors: int,
    shrinkages: Sequence[float],
    user_power: float,
    source_power: float,
    l1: float = 0.0,
    num_threads: int | None = None,
) -> list[_Csr]: ...
def common_users(
    interactions: _Csr,
    n_items: int,
    users: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    num_threads: int | None = None,
) -> npt.NDArray[np.uint32]: ...
def ridge_targets(
    interactions: _Csr,
    n_items: int,
    targets: npt.NDArray[np.int32],
    *,
    candidates: int,
    shrinkages: Sequence[float],
    user_power: float,
    source_power: float,
    l1: float = 0.0,
    num_threads: int | None = None,
) -> list[_Csr]: ...
def read_get(data: bytes, prefix: str) -> tuple[str, bytes, dict[bytes, bytes]] | None: ...
def recency_weights(
    indptr: npt.NDArray[np.int64], times: npt.NDArray[np.int64], half_life: float
) -> npt.NDArray[np.float32]: ...
def replace_targets(
    weights: _Csr,
    is_valid: npt.NDArray[np.bool_],
    covered: _Csr,
    places: npt.NDArray[np.int64],
    *,
    targets: npt.NDArray[np.int32],
    solved: _Csr,
    scale: float,
    thresholds: npt.NDArray[np.float32],
    is_new: npt.NDArray[np.bool_],
    k: int,
    num_threads: int | None = None,
) -> tuple[_Csr, _Csr]: ...
def measure_roofline(num_threads: int | None = None, rounds: int = 5) -> tuple[float, float]: ...
def simd_levels() -> tuple[str, list[str]]: ...
def item_neighbors(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
    n_items: int,
    k: int,
    *,
    weighting: str = "cosine",
    user_power: float = 0.0,
    source_power: float = 0.5,
    target_power: float = 0.5,
    shrinkage: float = 0.0,
    keep_diagonal: bool = False,
    cut_by_target: bool = False,
    num_threads: int | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]: ...
def ranking_metrics(
    items: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
    truth: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]],
    gains: npt.NDArray[np.float32] | None,
    ks: list[int],
    n_items: int,
    *,
    n_truth: npt.NDArray[np.int64] | None = None,
    n_catalogue: int | None = None,
    num_threads: int | None = None,
) -> dict[str, Any]: ...
def list_properties(
    items: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
    truth: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]],
    ks: list[int],
    information: npt.NDArray[np.float64],
    popularity: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    n_catalogue: int,
    *,
    item_users: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]] | None = None,
    n_users: int = 0,
    num_threads: int | None = None,
) -> dict[str, npt.NDArray[np.float64]]: ...
def auc(
    items: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float32],
    counts: npt.NDArray[np.int32],
    truth: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]],
    n_items: int,
) -> npt.NDArray[np.float64]: ...
def sample_negatives(
    seed: int,
    users: npt.NDArray[np.int64],
    excluded: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]],
    n_items: int,
    n: int,
    *,
    num_threads: int | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]: ...

_Sets = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]
_Layers = tuple[int, list[int], npt.NDArray[np.float32]]
_Lists = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int32]]
_Ranking = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]
_Purchases = tuple[
    npt.NDArray[np.int32] | None, npt.NDArray[np.float32] | None, npt.NDArray[np.int64] | None, int | None
]

class _Folding(Protocol):
    @property
    def priors(self) -> npt.NDArray[np.float32] | None: ...
    @property
    def half_lives(self) -> tuple[float | None, float | None]: ...
    @property
    def uses_weights(self) -> bool: ...
    @property
    def sees_sets(self) -> tuple[bool, bool]: ...

@final
class Ranker:
    def __new__(
        cls,
        item_vectors: npt.NDArray[np.float32],
        *,
        neighbors: _Csr | None = None,
        dense_neighbors: npt.NDArray[np.float32] | None = None,
        head: str = "inner",
        sharpness: npt.NDArray[np.float32] | None = None,
        item_bias: npt.NDArray[np.float32] | None = None,
        keys: npt.NDArray[np.float32] | None = None,
        queries: npt.NDArray[np.float32] | None = None,
        item_logits: npt.NDArray[np.float32] | None = None,
        attention_exponent: float | None = None,
        layers: _Layers | None = None,
        link: str = "identity",
    ) -> Ranker: ...
    def set_users(
        self,
        user_vectors: npt.NDArray[np.float32],
        history: _Csr | None = None,
        seen: _Sets | None = None,
        shift: npt.NDArray[np.float32] | None = None,
    ) -> None: ...
    def top_n(
        self,
        users: npt.NDArray[np.int64] | None,
        n: int,
        *,
        filter_seen: bool = True,
        allow: npt.NDArray[np.uint8] | None = None,
        allow_each: _Sets | None = None,
        deny: npt.NDArray[np.int64] | None = None,
        num_threads: int | None = None,
        plan: str | None = None,
        finish: bool = True,
    ) -> _Lists: ...
    def top_n_one(
        self, user: int, n: int, filter_seen: bool
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]: ...
    def top_n_of_id(
        self, user_ids: IdIndex, user_id: Any, n: Any, filter_seen: Any
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None: ...
    def top_n_for_items(
        self,
        history: list[int],
        n: int,
        filter_seen: bool,
        priors: npt.NDArray[np.float32] | None = None,
        *,
        weights: list[float] | None = None,
        times: list[int] | None = None,
        half_lives: tuple[float | None, float | None] = ...,
        had: list[int] | None = None,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]: ...
    def top_n_for(
        self,
        vectors: npt.NDArray[np.float32],
        history: _Csr | None,
        exclude: _Sets | None,
        n: int,
        *,
        allow: npt.NDArray[np.uint8] | None = None,
        allow_each: _Sets | None = None,
        deny: npt.NDArray[np.int64] | None = None,
        shift: npt.NDArray[np.float32] | None = None,
        num_threads: int | None = None,
        plan: str | None = None,
        finish: bool = True,
    ) -> _Lists: ...
    def top_n_by_rules(
        self,
        users: npt.NDArray[np.int64] | None,
        n: int,
        rules: ListRules,
        *,
        faded: _Csr | None = None,
        vectors: npt.NDArray[np.float32] | None = None,
        filter_seen: bool = True,
        allow: npt.NDArray[np.uint8] | None = None,
        deny: npt.NDArray[np.int64] | None = None,
        num_threads: int | None = None,
    ) -> _Lists | None: ...
    def top_n_by_rules_for(
        self,
        user_vectors: npt.NDArray[np.float32],
        history: _Csr | None,
        exclude: _Sets | None,
        n: int,
        rules: ListRules,
        *,
        faded: _Csr | None = None,
        vectors: npt.NDArray[np.float32] | None = None,
        allow: npt.NDArray[np.uint8] | None = None,
        deny: npt.NDArray[np.int64] | None = None,
        num_threads: int | None = None,
    ) -> _Lists | None: ...
    def scores(self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]: ...
    def scores_for(
        self,
        vectors: npt.NDArray[np.float32],
        history: _Csr | None,
        items: npt.NDArray[np.int64],
        *,
        shift: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]: ...
    def finish(
        self,
        scores: npt.NDArray[np.float32],
        counts: npt.NDArray[np.int32],
        shift: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]: ...
    def plan(self, n: int) -> dict[str, Any]: ...
    @property
    def n_users(self) -> int: ...
    @property
    def n_items(self) -> int: ...
    @property
    def factors(self) -> int: ...

@final
class ListRules:
    def __new__(
        cls,
        n_items: int,
        *,
        factors: npt.NDArray[np.float64] | None = None,
        at_most: list[tuple[npt.NDArray[np.int32], int]] = ...,
        at_least: list[tuple[npt.NDArray[np.uint8], int]] = ...,
        pins: list[tuple[int, int]] = ...,
        diversity: float | None = None,
        alike: npt.NDArray[np.int32] | None = None,
        allowed: npt.NDArray[np.uint8] | None = None,
    ) -> ListRules: ...
    def arrange(
        self,
        n: int,
        ranking: _Ranking,
        boosted: _Ranking | None = None,
        wanted: _Ranking | None = None,
        wanted_boosted: _Ranking | None = None,
        pins: _Ranking | None = None,
        *,
        faded: _Csr | None = None,
        vectors: npt.NDArray[np.float32] | None = None,
        num_threads: int | None = None,
    ) -> tuple[_Lists, npt.NDArray[np.bool_]]: ...

def join_ids(rows: list[Any]) -> tuple[npt.NDArray[np.int64] | list[str], npt.NDArray[np.int64]] | None: ...
def sets_of_rows(
    lengths: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], n_items: int, counted: bool
) -> tuple[_Sets, npt.NDArray[np.int64] | None]: ...
def union_of_sets(one: _Sets, other: _Sets) -> _Sets: ...

@final
class SoftmaxTrainer:
    def __new__(
        cls,
        interactions: _Csr,
        n_items: int,
        options: dict[str, Any],
        num_threads: int | None = None,
    ) -> SoftmaxTrainer: ...
    @property
    def batch_size(self) -> int: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def phase_times(self) -> list[tuple[str, float]]: ...
    def validation_loss(self, targets: _Csr, num_threads: int | None = None) -> float: ...
    def item_vectors(self, num_threads: int | None = None) -> npt.NDArray[np.float32]: ...

_Floats = npt.NDArray[np.float32]

@final
class SoftmaxShard:
    def __new__(
        cls,
        interactions: _Csr,
        n_items: int,
        first_user: int,
        counts: npt.NDArray[np.int64],
        active: npt.NDArray[np.uint32],
        options: dict[str, Any],
        num_threads: int | None = None,
    ) -> SoftmaxShard: ...
    @property
    def batch_size(self) -> int: ...
    def carry_item_sums(self, sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]: ...
    def set_item_sums(self, sums: npt.NDArray[np.float64]) -> None: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def begin_epoch(self, epoch: int) -> list[int]: ...
    def to_users(self, kind: str, table: _Floats | None = None, num_threads: int | None = None) -> None: ...
    def carry(self, kind: str, first: int, rows: _Floats, num_threads: int | None = None) -> _Floats: ...
    def carry_gram(
        self, part: _Floats, total: npt.NDArray[np.float64], n_users: int, num_threads: int | None = None
    ) -> tuple[_Floats, npt.NDArray[np.float64]]: ...
    def bare(self, first: int, last: int) -> _Floats: ...
    def set_smoothed(self, rows: _Floats) -> None: ...
    def begin_step(self, num_threads: int | None = None) -> None: ...
    def begin_validation(self, vectors: _Floats, num_threads: int | None = None) -> None: ...
    def batch(
        self, step: int, n_pairs: int, num_threads: int | None = None
    ) -> tuple[npt.NDArray[np.uint32], _Floats, _Floats, _Floats, npt.NDArray[np.float64]]: ...
    def negatives(
        self,
        first: int,
        last: int,
        vectors: _Floats,
        factors: _Floats,
        shifts: _Floats,
        num_threads: int | None = None,
    ) -> _Floats: ...
    def carry_gradient(
        self, first: int, by_vectors: _Floats, by_units: _Floats, num_threads: int | None = None
    ) -> tuple[_Floats, _Floats]: ...
    def finish_gradient(
        self, first: int, by_vectors: _Floats, by_units: _Floats, by_negatives: _Floats, num_threads: int | None = None
    ) -> _Floats: ...
    def hold(self, step: int, gradient: _Floats, num_threads: int | None = None) -> None: ...
    def set_returned(self, rows: _Floats) -> None: ...
    def update(self, num_threads: int | None = None) -> None: ...
    def check(self, loss: float, epoch: int, num_threads: int | None = None) -> None: ...
    def validation(self, targets: _Csr, num_threads: int | None = None) -> npt.NDArray[np.float64]: ...

def softmax_slice() -> int: ...
def softmax_passes_in(step: int, n_steps: int) -> bool: ...
def softmax_random_start(n_items: int, factors: int, seed: int) -> _Floats: ...
def spectral_rounds() -> int: ...
def spectral_begin(n_users: int, n_items: int, factors: int, seed: int) -> _Floats: ...
def spectral_orthonormal(directions: _Floats, num_threads: int | None = None) -> _Floats: ...
def spectral_finish(
    directions: _Floats, products: npt.NDArray[np.float64], factors: int, seed: int, num_threads: int | None = None
) -> _Floats: ...
def strongest_of_sources(by_target: _Csr, n_items: int, neighbors: int, num_threads: int | None = None) -> _Csr: ...

@final
class AlsTrainer:
    def __new__(
        cls,
        interactions: _Csr,
        n_items: int,
        *,
        factors: int,
        unobserved_weight: float,
        regularization: float,
        regularization_exponent: float,
        steps: int | None,
        seed: int,
        num_threads: int | None = None,
    ) -> AlsTrainer: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, num_threads: int | None = None) -> float: ...
    def state(self, num_threads: int | None = None) -> tuple[_Floats, _Floats, _Floats]: ...

def als_user_vectors(
    histories: _Csr,
    item_vectors: _Floats,
    gramian: _Floats,
    *,
    unobserved_weight: float,
    regularization: float,
    regularization_exponent: float,
    num_threads: int | None = None,
) -> _Floats: ...

@final
class BprTrainer:
    def __new__(
        cls,
        interactions: _Csr,
        n_items: int,
        *,
        factors: int,
        epochs: int,
        learning_rate: float,
        regularization: float,
        bias_regularization: float,
        negative_exponent: float,
        seed: int,
        num_threads: int | None = None,
    ) -> BprTrainer: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def state(self) -> tuple[_Floats, _Floats, _Floats, _Floats]: ...

def bpr_user_vectors(
    histories: _Csr,
    item_vectors: _Floats,
    *,
    learning_rate: float,
    regularization: float,
    seed: int,
    num_threads: int | None = None,
) -> _Floats: ...

@final
class LightGcnTrainer:
    def __new__(
        cls,
        interactions: _Csr,
        n_items: int,
        *,
        factors: int,
        n_layers: int,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        regularization: float,
        seed: int,
        num_threads: int | None = None,
    ) -> LightGcnTrainer: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def state(self, num_threads: int | None = None) -> tuple[_Floats, _Floats, _Floats]: ...
    def gradients(self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> tuple[list[_Floats], float]: ...

@final
class NeuralTrainer:
    def __new__(
        cls,
        interactions: _Csr,
        n_items: int,
        *,
        product: int,
        embedding: int,
        widths: list[int],
        epochs: int,
        batch_size: int,
        negatives: int,
        learning_rate: float,
        regularization: float,
        dropout: float,
        seed: int,
        num_threads: int | None = None,
    ) -> NeuralTrainer: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def state(self, num_threads: int | None = None) -> tuple[_Floats, _Floats, _Floats]: ...
    def parameters(self) -> tuple[_Floats, _Floats, _Floats]: ...
    def gradients(
        self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64], labels: _Floats
    ) -> tuple[tuple[_Floats, _Floats, _Floats], float]: ...

def neural_user_vectors(
    histories: _Csr,
    item_vectors: _Floats,
    mean: _Floats,
    deviation: _Floats,
    *,
    negatives: int,
    seed: int,
    layers: _Layers | None = None,
    num_threads: int | None = None,
) -> _Floats: ...

@final
class SvdTrainer:
    def __new__(
        cls,
        ratings: _Csr,
        n_items: int,
        *,
        factors: int,
        learning_rate: float,
        regularization: float,
        start_scale: float,
        seed: int,
        num_threads: int | None = None,
    ) -> SvdTrainer: ...
    @property
    def mean(self) -> float: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def state(self) -> tuple[_Floats, _Floats, _Floats, _Floats]: ...

def svd_user_vectors(
    histories: _Csr, item_vectors: _Floats, *, regularization: float, num_threads: int | None = None
) -> tuple[_Floats, _Floats]: ...

_Positions = npt.NDArray[np.int64]

@final
class Network:
    def __new__(
        cls, history: _Csr, n_items: int, options: dict[str, Any], *, ages: _Floats | None = None
    ) -> Network: ...
    def parameters(self) -> dict[str, _Floats]: ...
    def set_parameter(self, name: str, values: _Floats) -> None: ...
    def forward(self, users: _Positions, items: _Positions, num_threads: int | None = None) -> _Floats: ...
    def forward_if_ready(self, users: object, items: object, num_threads: int | None = None) -> _Floats | None: ...
    def backward(
        self,
        users: _Positions,
        items: _Positions,
        targets: _Floats | None = None,
        negatives: _Positions | None = None,
        log_weights: _Floats | None = None,
        num_threads: int | None = None,
    ) -> tuple[float, dict[str, _Floats]]: ...
    def step(
        self,
        users: _Positions,
        items: _Positions,
        targets: _Floats | None = None,
        negatives: _Positions | None = None,
        log_weights: _Floats | None = None,
        num_threads: int | None = None,
    ) -> float: ...

@final
class NetworkTrainer:
    def __new__(
        cls,
        pairs: _Csr,
        n_items: int,
        options: dict[str, Any],
        *,
        weights: _Floats | None = None,
        ages: _Floats | None = None,
        decay_epochs: int | None,
        batch_size: int,
        negatives: int,
        negative_exponent: float,
        user_dropout: float,
        spectral_start: bool,
        num_threads: int | None = None,
    ) -> NetworkTrainer: ...
    def progress(self, num_threads: int | None = None) -> tuple[dict[str, npt.NDArray[np.float32]], int]: ...
    def resume(
        self, numbers: dict[str, npt.NDArray[np.float32]], steps: int, num_threads: int | None = None
    ) -> None: ...
    def epoch(self, epoch: int, num_threads: int | None = None) -> float: ...
    def validation_loss(self, targets: _Csr, num_threads: int | None = None) -> float: ...
    def parameters(self) -> dict[str, _Floats]: ...
    def item_vectors(self, num_threads: int | None = None) -> _Floats: ...
    def vectors(self, num_threads: int | None = None) -> tuple[_Floats, _Floats, _Floats]: ...

@final
class UserNeighbors:
    def __new__(
        cls, interactions: _Csr, n_items: int, k: int, *, weighting: str, shrinkage: float
    ) -> UserNeighbors: ...
    def of(self, histories: _Csr, num_threads: int | None = None) -> _Csr: ...
    def contributions(
        self,
        items: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        users: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]: ...

def ease_weights(
    interactions: _Csr, n_items: int, *, regularization: float, num_threads: int | None = None
) -> npt.NDArray[np.float32]: ...
def slim_weights(
    interactions: _Csr,
    n_items: int,
    *,
    l1: float,
    l2: float,
    positive: bool,
    max_iterations: int,
    tolerance: float,
    num_threads: int | None = None,
) -> _Csr: ...
def history_weights(histories: _Csr, item_logits: _Floats, exponent: float) -> _Floats: ...
def attention_weights(
    interactions: _Csr, n_items: int, attention: str, exponent: float, num_threads: int | None = None
) -> tuple[_Floats, _Csr]: ...
def item_logits(interactions: _Csr, n_items: int, attention: str) -> _Floats: ...
def weighted_sums(histories: _Csr, item_vectors: _Floats, num_threads: int | None = None) -> _Floats: ...
def item_priors(interactions: _Csr, n_items: int, attention: str) -> npt.NDArray[np.float32]: ...
def score_scales(
    user_vectors: npt.NDArray[np.float32],
    item_vectors: npt.NDArray[np.float32],
    interactions: _Csr,
    neighbors: _Csr,
    num_threads: int | None = None,
) -> tuple[float, float]: ...
def gram_parts(user_vectors: npt.NDArray[np.float32], num_threads: int | None = None) -> npt.NDArray[np.float32]: ...
def gram_rows() -> int: ...
def vector_mean_squares(
    parts: npt.NDArray[np.float32],
    n_users: int,
    item_vectors: npt.NDArray[np.float32],
    num_threads: int | None = None,
) -> npt.NDArray[np.float64]: ...
def neighbor_mean_squares(
    interactions: _Csr, neighbors: _Csr, n_items: int, num_threads: int | None = None
) -> npt.NDArray[np.float64]: ...
def mixed_ndcg(
    user_vectors: npt.NDArray[np.float32],
    item_vectors: npt.NDArray[np.float32],
    weights: tuple[_Csr, _Csr] | None,
    seen: _Sets,
    wanted: _Sets,
    mixtures: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    n: int,
    num_threads: int | None = None,
) -> list[npt.NDArray[np.float64]]: ...
def serving_vectors(
    item_vectors: npt.NDArray[np.float32], exponent: float, num_threads: int | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
def sparse_history(histories: _Csr, repeats: npt.NDArray[np.float32] | None, n_items: int) -> _Csr: ...
def user_vectors(
    histories: _Csr,
    item_vectors: npt.NDArray[np.float32],
    item_priors: npt.NDArray[np.float32],
    num_threads: int | None = None,
) -> npt.NDArray[np.float32]: ...
def load_model(
    path: os.PathLike[str] | str,
) -> tuple[FileBytes, str, list[tuple[str, str, list[int], int, int]]]: ...
def model_to_bytes(tensors: list[tuple[str, str, list[int], npt.NDArray[np.uint8]]], metadata: str) -> bytes: ...
def parse_model(
    bytes: npt.NDArray[np.uint8],  # noqa: A002
) -> tuple[str, list[tuple[str, str, list[int], int, int]]]: ...
def save_model(
    path: os.PathLike[str] | str, tensors: list[tuple[str, str, list[int], npt.NDArray[np.uint8]]], metadata: str
) -> None: ...
