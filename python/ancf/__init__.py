"""Attention neural collaborative filtering for product recommendation.

>>> import ancf
>>> sorted(name for name in ("read_interactions", "ANCF", "evaluate") if name in ancf.__all__)
['ANCF', 'evaluate', 'read_interactions']

Names are loaded when they are first used, so that ``import ancf`` stays light. Type checkers and editors read the
imports that stand here for them.
"""

import importlib
from typing import TYPE_CHECKING

from ancf import models as _models
from ancf._native import __version__ as __version__

if TYPE_CHECKING:
    # "X as X" says that the name is public; a type checker takes a plain import in a package for private.
    from ancf.comparison import compare as compare
    from ancf.data.concat import concat as concat
    from ancf.data.feature_reading import read_features as read_features
    from ancf.data.features import Features as Features
    from ancf.data.ids import IdMap as IdMap
    from ancf.data.interactions import Interactions as Interactions
    from ancf.data.preprocess import batch_data as batch_data
    from ancf.data.preprocess import preprocess_data as preprocess_data
    from ancf.data.reading import read_interactions as read_interactions
    from ancf.data.split import LeakageWarning as LeakageWarning
    from ancf.data.split import kfold as kfold
    from ancf.data.split import leave_last_out as leave_last_out
    from ancf.data.split import random_split as random_split
    from ancf.data.split import time_split as time_split
    from ancf.data.split import user_split as user_split
    from ancf.errors import AncfError as AncfError
    from ancf.errors import DivergedError as DivergedError
    from ancf.errors import InternalError as InternalError
    from ancf.errors import InvalidCallError as InvalidCallError
    from ancf.errors import InvalidDataError as InvalidDataError
    from ancf.errors import InvalidParameterError as InvalidParameterError
    from ancf.errors import MissingExtraError as MissingExtraError
    from ancf.errors import ModelFileError as ModelFileError
    from ancf.errors import NotFittedError as NotFittedError
    from ancf.errors import ServerError as ServerError
    from ancf.errors import TrainingWarning as TrainingWarning
    from ancf.errors import UnknownItemError as UnknownItemError
    from ancf.errors import UnknownUserError as UnknownUserError
    from ancf.evaluation import Evaluation as Evaluation
    from ancf.evaluation import LeakageReport as LeakageReport
    from ancf.evaluation import calculate_ndcg as calculate_ndcg
    from ancf.evaluation import dcg_score as dcg_score
    from ancf.evaluation import evaluate as evaluate
    from ancf.evaluation import evaluate_metrics as evaluate_metrics
    from ancf.evaluation import evaluate_similar as evaluate_similar
    from ancf.evaluation import leakage_report as leakage_report
    from ancf.models import ALS as ALS
    from ancf.models import ANCF as ANCF
    from ancf.models import BPR as BPR
    from ancf.models import EASE as EASE
    from ancf.models import GMF as GMF
    from ancf.models import MLP as MLP
    from ancf.models import SLIM as SLIM
    from ancf.models import SVD as SVD
    from ancf.models import ANCFModel as ANCFModel
    from ancf.models import Factors as Factors
    from ancf.models import ItemKNN as ItemKNN
    from ancf.models import LastBought as LastBought
    from ancf.models import LightGCN as LightGCN
    from ancf.models import NeuMF as NeuMF
    from ancf.models import Popular as Popular
    from ancf.models import Recommender as Recommender
    from ancf.models import RP3beta as RP3beta
    from ancf.models import UserKNN as UserKNN
    from ancf.models import from_factors as from_factors
    from ancf.models.loading import load as load
    from ancf.scoring.results import Recommendations as Recommendations
    from ancf.scoring.rules import Rules as Rules
    from ancf.serving.client import AsyncClient as AsyncClient
    from ancf.serving.client import Client as Client
    from ancf.tuning.result import TuningResult as TuningResult
    from ancf.tuning.search import tune as tune

# Where each public name lives; the models are those of their registry.
_MODULE_OF = {
    "AncfError": "ancf.errors",
    "DivergedError": "ancf.errors",
    "InternalError": "ancf.errors",
    "InvalidDataError": "ancf.errors",
    "InvalidCallError": "ancf.errors",
    "InvalidParameterError": "ancf.errors",
    "MissingExtraError": "ancf.errors",
    "ModelFileError": "ancf.errors",
    "NotFittedError": "ancf.errors",
    "ServerError": "ancf.errors",
    "TrainingWarning": "ancf.errors",
    "UnknownItemError": "ancf.errors",
    "UnknownUserError": "ancf.errors",
    "read_features": "ancf.data.feature_reading",
    "Features": "ancf.data.features",
    "IdMap": "ancf.data.ids",
    "Interactions": "ancf.data.interactions",
    "concat": "ancf.data.concat",
    "read_interactions": "ancf.data.reading",
    "preprocess_data": "ancf.data.preprocess",
    "kfold": "ancf.data.split",
    "LeakageWarning": "ancf.data.split",
    "leave_last_out": "ancf.data.split",
    "random_split": "ancf.data.split",
    "time_split": "ancf.data.split",
    "user_split": "ancf.data.split",
    "batch_data": "ancf.data.preprocess",
    **_models._MODULE_OF,
    "Recommendations": "ancf.scoring.results",
    "Rules": "ancf.scoring.rules",
    "Evaluation": "ancf.evaluation",
    "calculate_ndcg": "ancf.evaluation",
    "dcg_score": "ancf.evaluation",
    "evaluate": "ancf.evaluation",
    "evaluate_metrics": "ancf.evaluation",
    "evaluate_similar": "ancf.evaluation",
    "LeakageReport": "ancf.evaluation",
    "leakage_report": "ancf.evaluation",
    "compare": "ancf.comparison",
    "TuningResult": "ancf.tuning.result",
    "tune": "ancf.tuning.search",
    "load": "ancf.models.loading",
    "AsyncClient": "ancf.serving.client",
    "Client": "ancf.serving.client",
}

# Modules whose functions run on a cluster; ``import ancf.spark`` is the way that type checkers follow.
_ENGINES = ("ray", "spark")

# A type checker must see neither: a list that it cannot read would hide the imports above from "from ancf import *",
# and a module's __getattr__ would make every misspelt name a known one.
if not TYPE_CHECKING:
    __all__ = ["__version__", *_MODULE_OF]

    def __getattr__(name):
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(_MODULE_OF[name]), name)
            globals()[name] = value
            return value
        if name in _ENGINES:
            return importlib.import_module(f"ancf.{name}")
        raise AttributeError(f"module 'ancf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
