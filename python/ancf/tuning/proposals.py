"""Which setting is tried next: on a grid, at random, or where Optuna's TPE expects the best.

What is proposed as trial number n follows from the seed, n and the trials before it, and from nothing else. So a search
that was interrupted proposes the same as one that was not. No setting is proposed twice.
"""

import json
import math
from abc import ABC, abstractmethod
from itertools import product
from typing import Any, Literal

import numpy as np

from ancf.errors import MissingExtraError
from ancf.search_space import Categorical, Dimension, Integer, SearchSpace, n_settings
from ancf.tuning.trial import Trial, lower_is_better

Method = Literal["auto", "optuna", "random", "grid"]

# Values of a number on a grid.
_GRID_STEPS = 3
# A space with more settings than this is not listed to find one that was not tried.
_MAX_LISTED = 20_000
_MAX_DRAWS = 100
# Trials at random before TPE models what it has seen.
_RANDOM_TRIALS = 5
# Trials to compare with before one is pruned, and the first epochs, which say little of a slow start.
_TRIALS_BEFORE_PRUNING = 4
_MIN_WARMUP_EPOCHS = 2


class Proposals(ABC):
    """A way through a space."""

    method: str

    def __init__(self, space: SearchSpace, random_state: int, defaults: dict[str, Any]) -> None:
        self.space, self.random_state = space, random_state
        self.tried: set[str] = set()
        # The model as it was given, where that is a setting of the space.
        inside = all(defaults[name] in dimension for name, dimension in space.items())
        self.given = {name: _as_drawn(each, defaults[name]) for name, each in space.items()} if inside else None

    @property
    def total(self) -> int | None:
        """How many trials there are at most, the model as it was given among them; None for no end."""
        size = n_settings(self.space)
        return None if size is None else size + (self.given is None)

    def add(self, trial: Trial) -> None:
        """Learn of a finished trial."""
        params = trial.params or self.given
        if params is not None:
            self.tried.add(_key(params))

    def propose(self, number: int) -> dict[str, Any] | None:
        """A setting that was not tried yet; None where there is none left."""
        rng = np.random.default_rng([self.random_state, number])
        params = self._suggest(number, rng)
        for _ in range(_MAX_DRAWS):
            if params is None or _key(params) not in self.tried:
                return params
            params = {name: dimension.sample(rng) for name, dimension in self.space.items()}
        size = n_settings(self.space)
        if size is None or size > _MAX_LISTED:
            return params
        left = [each for each in _listed(self.space, None) if _key(each) not in self.tried]
        return left[int(rng.integers(len(left)))] if left else None

    @abstractmethod
    def _suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any] | None:
        """A setting; it may have been tried."""

    def prunes(self, params: dict[str, Any], curve: list[float]) -> bool:
        """Whether a trial with these epochs so far is not worth going on with."""
        return False


class RandomProposals(Proposals):
    """All settings as likely."""

    method = "random"

    def _suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        return {name: dimension.sample(rng) for name, dimension in self.space.items()}


class GridProposals(Proposals):
    """Every choice, and three values of each number, one setting after the other."""

    method = "grid"

    def __init__(self, space: SearchSpace, random_state: int, defaults: dict[str, Any]) -> None:
        super().__init__(space, random_state, defaults)
        self._points = _listed(space, _GRID_STEPS)

    @property
    def total(self) -> int:
        given = None if self.given is None else _key(self.given)
        return 1 + sum(_key(each) != given for each in self._points)

    def propose(self, number: int) -> dict[str, Any] | None:
        """The next one of the grid."""
        return next((each for each in self._points if _key(each) not in self.tried), None)

    def _suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any] | None:
        raise NotImplementedError


class OptunaProposals(Proposals):
    """Tree-structured Parzen estimators (Bergstra et al. 2011), and pruning by the median, both of Optuna.

    Raises
    ------
    MissingExtraError
        If Optuna is not installed.
    """

    method = "optuna"

    def __init__(self, space: SearchSpace, random_state: int, defaults: dict[str, Any], metric: str) -> None:
        super().__init__(space, random_state, defaults)
        self._optuna = import_optuna()
        self._distributions = {name: self._distribution(each) for name, each in space.items()}
        # Optuna tells everybody of a new study.
        spoken = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        try:
            self._study = self._optuna.create_study(direction="minimize" if lower_is_better(metric) else "maximize")
        finally:
            self._optuna.logging.set_verbosity(spoken)
        self._warmup = _MIN_WARMUP_EPOCHS

    def _distribution(self, dimension: Dimension) -> Any:
        kinds = self._optuna.distributions
        if isinstance(dimension, Categorical):
            return kinds.CategoricalDistribution(dimension.choices)
        kind = kinds.IntDistribution if isinstance(dimension, Integer) else kinds.FloatDistribution
        return kind(dimension.low, dimension.high, log=dimension.log)

    def _frozen(self, params: dict[str, Any], curve: Any, state: Any, value: float | None = None) -> Any:
        return self._optuna.trial.create_trial(
            state=state,
            params=params,
            distributions=self._distributions,
            value=value,
            intermediate_values=dict(enumerate(curve, 1)),
        )

    def add(self, trial: Trial) -> None:
        """Learn of a finished trial."""
        super().add(trial)
        if trial.number == 1:
            # A quarter of the epochs: a slow start may still win.
            self._warmup = max(_MIN_WARMUP_EPOCHS, len(trial.curve) // 4)
        params = trial.params or self.given
        states = self._optuna.trial.TrialState
        if params is not None and trial.state != "failed":
            state, value = (states.COMPLETE, trial.value) if trial.state == "complete" else (states.PRUNED, None)
            self._study.add_trial(self._frozen(params, trial.curve, state, value))

    def _suggest(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        # A sampler of its own for each trial: a sampler's memory of what it drew would be lost with the process.
        seed = int(rng.integers(2**31))
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
        asked = self._study.ask(self._distributions)
        # What becomes of it is added as a trial of its own, so that a study that is resumed has the same trials.
        self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
        return {name: asked.params[name] for name in self.space}

    def prunes(self, params: dict[str, Any], curve: list[float]) -> bool:
        """Whether its best epoch so far is worse than what half the complete trials had at that point."""
        if not math.isfinite(curve[-1]):
            return True
        pruner = self._optuna.pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, self._warmup)
        running = self._frozen(params, curve, self._optuna.trial.TrialState.RUNNING)
        return bool(pruner.prune(self._study, running))


def import_optuna() -> Any:
    """Optuna.

    Raises
    ------
    MissingExtraError
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError(
            'method="optuna" needs Optuna. Run: pip install \'ancf[tune]\', or take method="random" or "grid".'
        ) from None
    return optuna


def chosen_method(method: Method) -> Method:
    """auto: Optuna where it is installed."""
    if method != "auto":
        return method
    try:
        import_optuna()
    except MissingExtraError:
        return "random"
    return "optuna"


def _listed(space: SearchSpace, steps: int | None) -> list[dict[str, Any]]:
    """Every setting, or with ``steps`` those of the grid."""
    values = [each.grid(steps or each.size or 0) for each in space.values()]
    return [dict(zip(space, each, strict=True)) for each in product(*values)]


def _as_drawn(dimension: Dimension, value: Any) -> Any:
    """A value in the type that a dimension draws."""
    return (
        value if isinstance(dimension, Categorical) else int(value) if isinstance(dimension, Integer) else float(value)
    )


def _key(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
