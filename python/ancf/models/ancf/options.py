"""What the options of ``ANCF`` may be, and what ``auto`` becomes: one ``Settings`` for a training.

``resolve`` gives every option its value; the mixture of the parts of a score keeps its middle until it is chosen on
purchases held out (``selection.py``). ``option_checks.py`` refuses what makes no sense.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ancf.data.interactions import SplitBy
from ancf.data.normalize import NormalizerKind
from ancf.errors import InvalidDataError
from ancf.models.network import Similarity
from ancf.search_space import Dimension, Integer, Real, SearchSpace

Auto = Literal["auto"]
AutoSimilarity = Literal[Auto, Similarity]
AutoNormalize = Literal[Auto, NormalizerKind]
Init = Literal[Auto, "svd", "random"]
ChooseFor = Literal["future", "next", "random"]
AutoChooseFor = Literal[Auto, ChooseFor]
Interest = Literal["equal", "given"]
AutoInterest = Literal[Auto, Interest]

# τ = 0.2 suits some four thousand items (Last.fm); it falls with the catalogue to this power, as more items need a
# sharper softmax. Chosen on validation parts of Last.fm, Amazon Electronics and Gowalla (docs/measurements/choices.md).
_TEMPERATURE = 0.2
_TEMPERATURE_ITEMS = 4000
_TEMPERATURE_POWER = 0.3

# λ falls with the catalogue too: 30 for Electronics, 13 for Online Retail, 11 for Last.fm, 8 for Gowalla. Candidates
# cost their cube for each item, so that small catalogues get more of them for the same time (500 instead of 200 gave
# +2.5 % Recall@20 on Electronics), and large ones fewer (100 cost nothing on Gowalla, but 4 % on Food). Chosen on
# validation parts of the training tables (docs/measurements/choices.md).
_SHRINKAGE = 12.0
# An l1 leaves weak companions out, which pays up to some thousands of items, and there one λ suits all.
_L1, _L1_ITEMS, _L1_SHRINKAGE = 0.08, 5_000, 8.0
_CANDIDATE_PAIRS = 750_000
_MANY_ITEMS = 10_000
# Half of the negatives do for a catalogue of more than twice as many items as all of them.
_FEW_NEGATIVES = 2048
# So many items are few enough to solve the weights several times; small tables differ most in the λ they want.
_SMALL_CATALOGUE = 2_000
# What "auto" takes, or half as much again where the plain softmax sees a part of the catalogue only.
USUAL_RATES = {"adam": 0.02, "adagrad": 0.1, "sgd": 1.0}


@dataclass(frozen=True)
class Settings:
    """All that one training goes by; the names are those of the options of ``ANCF``."""

    factors: int
    loss: str
    optimizer: str
    attention: str
    attention_exponent: float
    use_weights: bool
    item_attention: bool
    user_factors: bool
    user_dropout: float
    factor_attention: bool
    output: str
    layer: str
    biases: bool
    similarity: str
    normalize: str
    temperature: float
    negatives: int
    negative_exponent: float
    batch_size: int | None
    """None: by the trainer's own rule."""
    epochs: int
    learning_rate: float
    regularization: float
    spectral_start: bool
    random_state: int
    neighbors: int
    neighbor_candidates: int
    neighbor_shrinkage: float
    neighbor_l1: float
    neighbor_weight: float
    serving_exponent: float
    popularity_exponent: float
    half_life: float | None
    trend: float
    trend_half_life: float
    repeat_weight: float
    repeat_half_life: float | None
    open_choices: frozenset[str]
    """What is chosen on purchases held out of the training table."""
    interest: Interest
    """What a pair without a purchase weighs in a history."""
    choose_for: ChooseFor
    """Which purchases these are."""
    num_threads: int | None

    @property
    def needs_network(self) -> bool:
        """Whether these options go beyond one softmax row per user."""
        return wants_network(self)

    @property
    def concatenates(self) -> bool:
        """Whether a layer reads [p; q] rather than p ⊙ q."""
        return concatenates(self)

    @property
    def plain_cosine(self) -> bool:
        """Whether the score is learned as a cosine, and served with another power of the items' lengths."""
        return is_plain_cosine(self)

    def record(self) -> dict[str, Any]:
        """What ``auto`` and ``None`` became, by name, for ``history_``."""
        network = ("similarity", "neighbors") if self.needs_network else ()
        interest = ("interest",) if self.interest == "given" or "interest" in self.open_choices else ()
        return {name: getattr(self, name) for name in (*_RECORDED, *network, *interest)}


_RECORDED = (
    "batch_size",
    "choose_for",
    "epochs",
    "half_life",
    "learning_rate",
    "negatives",
    "neighbor_candidates",
    "neighbor_shrinkage",
    "neighbor_l1",
    "neighbor_weight",
    "random_state",
    "repeat_weight",
    "repeat_half_life",
    "popularity_exponent",
    "serving_exponent",
    "temperature",
    "trend",
    "trend_half_life",
)


def resolve(
    estimator: Any, n_items: int, timed: bool, split_by: SplitBy | None = None, *, has_interest: bool = False
) -> Settings:
    """The settings for a table with so many items, split so; ``estimator`` has the options as attributes.

    ``has_interest``: whether there are pairs without a purchase, and what they weigh may be chosen.
    """
    o = estimator
    similarity, neighbors, negatives = _similarity(o), _neighbors(o), _negatives(o)
    plain_cosine = is_plain_cosine(o)
    needs_network = wants_network(o)
    # More and longer steps where the plain softmax sees a part of the catalogue only (docs/measurements/choices.md).
    drawn = n_items > negatives and not needs_network
    epochs, rate = (24, 0.03) if drawn else (16, USUAL_RATES[o.optimizer])
    if n_items > 2 * negatives and o.negatives == "auto" and not needs_network:
        negatives = _FEW_NEGATIVES
    seed = o.random_state if o.random_state is not None else int.from_bytes(os.urandom(8), "little")
    may_open = [("neighbor_weight", neighbors > 0), ("serving_exponent", plain_cosine)]
    small = n_items <= _SMALL_CATALOGUE and o.neighbor_weight == "auto"
    may_open.append(("neighbor_shrinkage", neighbors > 0 and not needs_network and small))
    may_open.append(("interest", has_interest and not needs_network))
    choose_for = _choose_for(o, timed, split_by)
    may_open.append(("popularity_exponent", not needs_network and o.serving_exponent == "auto"))
    may_open += [
        (name, not needs_network and choose_for in purposes)
        for name, purposes in (
            ("half_life", ("future", "next")),
            ("trend", ("future",)),
            ("trend_half_life", ("future",) if o.trend else ()),
        )
    ]
    return Settings(
        factors=int(o.factors),
        loss=o.loss,
        optimizer=o.optimizer,
        attention=o.attention,
        attention_exponent=float(o.attention_exponent),
        use_weights=bool(o.use_weights),
        item_attention=bool(o.item_attention),
        user_factors=bool(o.user_factors),
        user_dropout=float(o.user_dropout),
        factor_attention=bool(o.factor_attention),
        output=o.output,
        layer=o.layer,
        biases=bool(o.biases),
        similarity=similarity,
        normalize=o.normalize,
        temperature=_temperature(o, similarity, n_items),
        negatives=negatives,
        negative_exponent=float(o.negative_exponent),
        batch_size=None if o.batch_size == "auto" else int(o.batch_size),
        epochs=epochs if o.epochs == "auto" else int(o.epochs),
        learning_rate=rate if o.learning_rate == "auto" else float(o.learning_rate),
        regularization=float(o.regularization),
        spectral_start=o.init == "svd" or (o.init == "auto" and o.loss != "mse"),
        random_state=int(seed),
        neighbors=neighbors,
        neighbor_candidates=_candidates(o, n_items),
        neighbor_shrinkage=_shrinkage(o, n_items),
        neighbor_l1=_l1(o, n_items),
        neighbor_weight=1.0 if o.neighbor_weight == "auto" else float(o.neighbor_weight),
        serving_exponent=_serving_exponent(o, plain_cosine),
        popularity_exponent=0.0 if o.popularity_exponent == "auto" else float(o.popularity_exponent),
        half_life=None if o.half_life in ("auto", None) else float(o.half_life),
        trend=0.0 if o.trend == "auto" else float(o.trend),
        trend_half_life=15.0 if o.trend_half_life == "auto" else float(o.trend_half_life),
        repeat_weight=float(o.repeat_weight),
        repeat_half_life=None if o.repeat_half_life is None else float(o.repeat_half_life),
        open_choices=frozenset(name for name, may in may_open if may and getattr(o, name) == "auto"),
        interest="equal" if o.interest == "auto" else o.interest,
        choose_for=choose_for,
        num_threads=o.num_threads,
    )


def as_chosen(settings: Settings, chosen: Mapping[str, Any]) -> Settings:
    """The settings with their open choices as an earlier fit made them."""
    known = {name: chosen[name] for name in settings.open_choices if name in chosen}
    return replace(settings, **known, open_choices=settings.open_choices - known.keys())


def _choose_for(options: Any, timed: bool, split_by: SplitBy | None) -> ChooseFor:
    """auto: what lies ahead, or what the part of a split will be asked; any purchase where there are no times."""
    if options.choose_for != "auto":
        chosen: ChooseFor = options.choose_for
        if chosen != "random" and not timed:
            raise InvalidDataError(
                f"choose_for={chosen!r} needs times, which this table does not have. Leave it out, or give a column of "
                "times."
            )
        return chosen
    if not timed or split_by == "random":
        return "random"
    return "next" if split_by in ("last", "user") else "future"


# What the plain softmax has of the options that decide who trains it.
_PLAIN_SOFTMAX: dict[str, tuple[Any, ...]] = {
    "loss": ("softmax",),
    "optimizer": ("adam",),
    "attention": ("mean", "degree"),
    "output": ("linear",),
    "similarity": ("auto", "cosine"),
    "user_factors": (False,),
    "factor_attention": (False,),
    "biases": (False,),
}


def beyond_plain_softmax(options: Any) -> str:
    """The options that go beyond one softmax row per user, as they are written; empty where none does."""
    found = {name: getattr(options, name) for name, plain in _PLAIN_SOFTMAX.items()}
    return ", ".join(f"{name}={value!r}" for name, value in found.items() if value not in _PLAIN_SOFTMAX[name])


def wants_network(options: Any) -> bool:
    """Whether somebody else than the plain softmax trains."""
    return bool(beyond_plain_softmax(options))


def is_plain_cosine(options: Any) -> bool:
    """Whether a score is a bare cosine."""
    return bool(_similarity(options) == "cosine" and options.output == "linear" and not options.factor_attention)


def concatenates(options: Any) -> bool:
    """Whether a layer sees both vectors, and not their product."""
    return bool(options.output == "sigmoid" and options.layer == "concat")


def _similarity(options: Any) -> str:
    """auto: the cosine for the plain softmax, which needs bounded scores; the product otherwise."""
    if options.similarity != "auto":
        return str(options.similarity)
    plain = options.output == "linear" and not (options.factor_attention or options.biases)
    return "cosine" if options.loss == "softmax" and plain and options.attention != "target" else "product"


def _neighbors(options: Any) -> int:
    """auto: item-item weights where lists are learned and the score is a plain inner product."""
    if options.neighbors != "auto":
        return int(options.neighbors)
    plain = options.output == "linear" and not options.factor_attention and options.attention != "target"
    return 100 if plain and options.loss != "mse" else 0


def _negatives(options: Any) -> int:
    """auto: for the softmax items of a step, fewer where they cost more; for other losses those of each purchase."""
    if options.negatives != "auto":
        return int(options.negatives)
    if options.loss != "softmax":
        return {"bpr": 1, "bce": 4, "mse": 1}[options.loss]
    return 256 if options.attention == "target" else 1024 if options.factor_attention else 4096


def _temperature(options: Any, similarity: str, n_items: int) -> float:
    if options.temperature != "auto":
        return float(options.temperature)
    if similarity != "cosine":
        return 1.0
    rule = _TEMPERATURE * float(_TEMPERATURE_ITEMS / max(n_items, 1)) ** _TEMPERATURE_POWER
    return float(round(min(max(rule, 0.05), 0.5), 3))


def _candidates(options: Any, n_items: int) -> int:
    if options.neighbor_candidates != "auto":
        return int(options.neighbor_candidates)
    if n_items > _MANY_ITEMS:
        return max(round(200 * math.sqrt(_MANY_ITEMS / n_items)), 100)
    return min(max(_CANDIDATE_PAIRS // max(n_items, 1), 200), 500)


def _l1(options: Any, n_items: int) -> float:
    if options.neighbor_l1 != "auto":
        return float(options.neighbor_l1)
    return _L1 if n_items <= _L1_ITEMS else 0.0


def _shrinkage(options: Any, n_items: int) -> float:
    if options.neighbor_shrinkage != "auto":
        return float(options.neighbor_shrinkage)
    if _l1(options, n_items):
        return _L1_SHRINKAGE
    return float(round(min(max(_SHRINKAGE * _TEMPERATURE_ITEMS / max(n_items, 1), 8.0), 30.0), 2))


def shrinkages(settings: Settings) -> tuple[float, ...]:
    """What is tried for the item-item weights: the rule's λ and, for a small catalogue, a third and a tenth of it."""
    rule = settings.neighbor_shrinkage
    return (rule, rule / 3, rule / 10) if "neighbor_shrinkage" in settings.open_choices else (rule,)


def _serving_exponent(options: Any, plain_cosine: bool) -> float:
    if not plain_cosine:
        return 1.0
    return 0.5 if options.serving_exponent == "auto" else float(options.serving_exponent)


# ---- searching

# The rates around what "auto" takes.
_RATES = {"adam": Real(0.002, 0.1, log=True), "adagrad": Real(0.01, 0.5, log=True), "sgd": Real(0.05, 5.0, log=True)}


def search_space(options: Any) -> SearchSpace:
    """What may be tried of these options, each of which has an effect beside the others."""
    space: dict[str, Dimension] = {
        "factors": Integer(16, 256, log=True),
        "learning_rate": _RATES[options.optimizer],
        "batch_size": Integer(128, 4096, log=True),
    }
    if wants_network(options):
        space["regularization"] = Real(1e-6, 1e-2, log=True)
    if options.loss == "softmax" and _similarity(options) == "cosine":
        space["temperature"] = Real(0.05, 0.5, log=True)
    if options.loss != "mse":
        space["negative_exponent"] = Real(0.0, 1.0)
    if options.attention != "none" or options.item_attention:
        space["attention_exponent"] = Real(0.2, 0.8)
    if _neighbors(options):
        space["neighbor_shrinkage"] = Real(0.5, 60.0, log=True)
        space["neighbor_l1"] = Real(0.01, 0.3, log=True)
    return space
