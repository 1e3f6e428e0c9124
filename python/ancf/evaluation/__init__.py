"""How good a model is: ranking metrics and errors on held-out interactions, one value for every user.

Each test user is given a list, and the list is compared with what the user did in the test table. ``docs/metrics.md``
has the definition of every metric, its source and the names that other libraries give it.
"""

from ancf.evaluation.batches import calculate_ndcg as calculate_ndcg
from ancf.evaluation.batches import dcg_score as dcg_score
from ancf.evaluation.batches import evaluate_metrics as evaluate_metrics
from ancf.evaluation.given_lists import GivenLists as GivenLists
from ancf.evaluation.given_lists import ListReport as ListReport
from ancf.evaluation.leakage import LeakageReport as LeakageReport
from ancf.evaluation.leakage import leakage_report as leakage_report
from ancf.evaluation.measuring import evaluate as evaluate
from ancf.evaluation.measuring import evaluate_scorer as evaluate_scorer
from ancf.evaluation.measuring import evaluate_top_n as evaluate_top_n
from ancf.evaluation.metrics import DEFAULT_METRICS as DEFAULT_METRICS
from ancf.evaluation.metrics import ERROR_METRICS as ERROR_METRICS
from ancf.evaluation.metrics import RANKING_METRICS as RANKING_METRICS
from ancf.evaluation.metrics import OnUnknownUser as OnUnknownUser
from ancf.evaluation.metrics import check_metric as check_metric
from ancf.evaluation.metrics import parse_metrics as parse_metrics
from ancf.evaluation.result import Evaluation as Evaluation
from ancf.evaluation.similar import evaluate_similar as evaluate_similar
from ancf.evaluation.user_groups import UserGroups as UserGroups
