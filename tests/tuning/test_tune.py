"""ancf.tune: what is tried, what is chosen, and what the figures are of."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest

import ancf
import ancf.tuning.search
from ancf.epochs import watch_epochs
from ancf.search_space import Categorical, Integer, Real
from ancf.tuning import proposals
from ancf.tuning.importance import setting_importance
from ancf.tuning.trial import Trial

ALS = ancf.ALS(factors=8, epochs=6)
ALS_SPACE = {"regularization": Real(1e-4, 1.0, log=True), "unobserved_weight": Real(0.001, 1.0, log=True)}


def without_seconds(result):
    return result.to_pandas().drop(columns="seconds").to_dict("list")


# ---- what is tried


@pytest.mark.filterwarnings("ignore::ancf.TrainingWarning")
def test_the_first_trial_is_the_model_as_given_and_the_best_is_never_below_it(train):
    result = ancf.tune(ALS, train, trials=6, space=ALS_SPACE, method="random")
    assert [trial.number for trial in result.trials] == [1, 2, 3, 4, 5, 6]
    assert result.trials[0].params == {}
    before, after = ancf.time_split(train, (0.8, 0.2))
    alone = ancf.evaluate(ALS.clone().fit(before, validation=after), after, "ndcg@10")
    assert result.trials[0].value == alone["ndcg@10"]
    assert result.validation_value == max(trial.value for trial in result.trials)


@pytest.mark.parametrize("method", ["optuna", "random"])
def test_the_same_seed_gives_the_same_trials_and_the_same_model(train, method):
    first, second = (ancf.tune(ALS, train, trials=8, space=ALS_SPACE, method=method, random_state=3) for _ in range(2))
    assert first.trials == second.trials
    assert first.best_model.to_bytes() == second.best_model.to_bytes()
    other = ancf.tune(ALS, train, trials=8, space=ALS_SPACE, method=method, random_state=4)
    assert other.trials[1:] != first.trials[1:]


def test_more_trials_begin_with_the_same_ones(train):
    short = ancf.tune(ALS, train, trials=7, space=ALS_SPACE, method="optuna")
    assert ancf.tune(ALS, train, trials=9, space=ALS_SPACE, method="optuna").trials[:7] == short.trials


def test_optuna_stops_trials_that_are_worse_than_half_of_the_others(train):
    result = ancf.tune(ALS, train, trials=16, space={"regularization": Real(1e-4, 1e3, log=True)}, method="optuna")
    stopped = [trial for trial in result.trials if trial.state == "pruned"]
    assert stopped
    assert all(trial.value is None and 0 < len(trial.curve) < 6 for trial in stopped)
    assert result.best_trial.state == "complete"


def test_a_grid_is_every_combination_once(train):
    space = {"neighbors": [5, 20], "shrinkage": Real(1.0, 100.0, log=True)}
    result = ancf.tune("item-knn", train, space=space, method="grid")
    assert [tuple(trial.params.values()) for trial in result.trials[1:]] == [
        (neighbors, shrinkage) for neighbors in (5, 20) for shrinkage in (1.0, 10.0, 100.0)
    ]


@pytest.mark.parametrize("method", ["optuna", "random", "grid"])
def test_a_space_that_ends_is_tried_as_a_whole_and_nothing_twice(train, method):
    result = ancf.tune(ancf.Popular(window=7), train, method=method, trials=30)
    assert sorted(result.to_pandas()["count"]) == ["events", "users", "weight"]


def test_without_a_sampler_that_learns_rate_factors_and_batch_are_searched(train):
    assert set(ancf.tune(ancf.BPR(epochs=1), train, trials=1, method="random").space) == {"learning_rate", "factors"}
    three = ancf.tuning.search.default_space(ancf.ANCF(), "grid")
    assert list(three) == ["learning_rate", "factors", "batch_size"]
    assert set(ancf.tuning.search.default_space(ancf.ALS(), "random")) == set(ancf.ALS().search_space())


def test_the_table_has_both_losses_of_each_setting(train):
    result = ancf.tune(ancf.BPR(epochs=2), train, method="grid", space={"factors": [4, 8]})
    text = repr(result)
    assert "training  validation" in text
    for trial in result.trials:
        assert f"{trial.training_loss:.4g}" in text
        assert f"{trial.validation_loss:.4g}" in text


def test_an_option_that_was_given_keeps_its_value(train):
    result = ancf.tune(ancf.ALS(factors=4, epochs=2), train, trials=3, method="random")
    assert "factors" not in result.space
    assert result.best_model.factors == 4
    with pytest.raises(ancf.InvalidParameterError, match="has no option to search: all of count, window was given"):
        ancf.tune(ancf.Popular(count="events", window=7), train)
    untimed = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=[1, 2, 1, 3])
    with pytest.raises(ancf.InvalidParameterError, match="no option to search for a table without times"):
        ancf.tune("last-bought", untimed)


def test_the_model_that_was_given_stays_as_it_is(train):
    model = ancf.ItemKNN(neighbors=7).fit(train)
    before = model.to_bytes()
    ancf.tune(model, train, trials=3, method="random")
    assert model.to_bytes() == before


def test_a_model_class_and_its_names_are_the_same(train):
    found = [ancf.tune(model, train, trials=2, method="random").trials for model in (ancf.SVD, "SVD", "svd")]
    assert found[0] == found[1] == found[2]


# ---- what is chosen


def test_errors_are_to_be_low(train):
    result = ancf.tune(ancf.SVD(factors=4, epochs=5), train, trials=6, metric="rmse", method="optuna")
    values = [trial.value for trial in result.trials if trial.value is not None]
    assert result.validation_value == min(values) < max(values)


def test_the_best_setting_is_trained_on_both_parts_for_its_best_epoch_and_measured_once(train, test_part):
    result = ancf.tune(ALS, train, test=test_part, trials=5, space=ALS_SPACE, method="random")
    params = {**result.best_trial.params, "epochs": result.best_trial.epochs}
    assert result.best_params == params
    alone = ALS.clone().set_params(**params).fit(train)
    assert result.best_model.to_bytes() == alone.to_bytes()
    assert result.test_value == ancf.evaluate(alone, test_part, "ndcg@10")["ndcg@10"]
    assert f"test        ndcg@10 {result.test_value:.4f}" in repr(result)


def test_a_validation_table_is_joined_for_the_last_training(train, test_part):
    result = ancf.tune(ancf.ItemKNN(), train, validation=test_part, trials=2, method="random")
    both = ancf.ItemKNN(**result.best_params).fit(ancf.concat([train, test_part]))
    assert result.best_model.recommend_all(N=5).to_pandas().equals(both.recommend_all(N=5).to_pandas())
    assert result.parts[1].n_events == len(test_part)


def split_so(table, how):
    table = table.subset(np.ones(len(table), bool))
    table.split_by = how
    return table


@pytest.mark.parametrize(
    ("how", "cut"),
    [
        (None, lambda table: ancf.time_split(table, (0.75, 0.25))),
        ("time", lambda table: ancf.time_split(table, (0.75, 0.25))),
        ("random", lambda table: ancf.random_split(table, (0.75, 0.25), random_state=5, on_leak="ignore")),
        ("last", lambda table: ancf.leave_last_out(table, random_state=5, on_leak="ignore")),
        ("user", lambda table: ancf.leave_last_out(table, random_state=5, on_leak="ignore")),
    ],
)
def test_the_validation_part_is_cut_as_the_table_was(train, how, cut):
    before, after = cut(train)
    result = ancf.tune(ancf.Popular(), split_so(train, how), validation=0.25, trials=1, random_state=5)
    assert result.validation_value == ancf.evaluate(ancf.Popular().fit(before), after, "ndcg@10")["ndcg@10"]


def test_repeats_count_where_they_are_asked_for(train):
    news, all_of_it = (
        ancf.tune("popular", train, trials=1, filter_already_liked_items=each).validation_value
        for each in (True, False)
    )
    assert news != all_of_it


# ---- trials that fail, and time that is over


class Moody(ancf.Popular):
    """Fails as ``mood`` says."""

    def __init__(self, *, mood="well", num_threads=None):
        self.mood = mood
        self.num_threads = num_threads
        self.count, self.window = "users", None

    def fit(self, interactions, validation=None):
        if self.mood == "memory":
            raise MemoryError
        if self.mood == "diverged":
            raise ancf.DivergedError("the loss is nan in epoch 2")
        if self.mood == "defect":
            raise ValueError("a shape does not fit")
        if self.mood == "interrupted":
            raise KeyboardInterrupt
        return super().fit(interactions, validation)


MOODS = {"mood": ["memory", "diverged", "defect", "fine"]}


def test_a_trial_that_fails_has_a_row_that_says_so_and_the_others_go_on(train):
    result = ancf.tune(Moody(), train, method="grid", space=MOODS)
    assert [trial.state for trial in result.trials] == ["complete", "failed", "failed", "failed", "complete"]
    text = repr(result)
    assert "trial 2 failed: MemoryError: no memory was left" in text
    assert "trial 3 failed: the loss is nan in epoch 2" in text
    assert "trial 4 failed: ValueError: a shape does not fit" in text


def test_where_every_trial_fails_the_first_reason_is_told(train):
    with pytest.raises(ancf.InvalidParameterError, match="no trial of 2 was complete; the first: the loss is nan"):
        ancf.tune(Moody(mood="diverged"), train, method="grid", space={"mood": ["memory"]})


def test_a_diverging_rate_is_one_failed_row(train):
    result = ancf.tune(ancf.SVD(epochs=3), train, method="grid", space={"learning_rate": [0.004, 1e5]}, metric="rmse")
    assert [trial.state for trial in result.trials] == ["complete", "complete", "failed"]


def test_a_timeout_shorter_than_one_trial_still_finishes_the_first(train):
    result = ancf.tune(ALS, train, timeout=1e-9)
    assert [trial.state for trial in result.trials] == ["complete"]
    assert result.ended == "the timeout ended the search"
    assert result.best_model.recommend_all(N=1).ids.size


def test_a_timeout_ends_a_trial_with_its_epoch_and_the_trial_does_not_count(train, monkeypatch):
    from ancf.tuning.search import _Search

    # The time is over after the first epoch of the second trial.
    seen = []
    monkeypatch.setattr(_Search, "_out_of_time", lambda self: bool(seen) or (len(self.trials) == 1 and seen.append(1)))
    result = ancf.tune(ALS, train, timeout=100)
    assert len(result.trials) == 1
    assert result.ended == "the timeout cut trial 2 off"


def test_ctrl_c_says_what_was_best_and_how_to_go_on(train, tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        ancf.tune(Moody(), train, method="grid", space={"mood": ["fine", "interrupted"]}, storage=tmp_path / "t.db")
    (note,) = stopped.value.__notes__
    assert note.startswith("2 trials are finished; the best so far is ndcg@10 0.")
    assert f"storage={str(tmp_path / 't.db')!r} goes on" in note


def test_no_trial_tells_that_it_overfits(train):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ancf.TrainingWarning)
        ancf.tune(ancf.BPR(epochs=30, patience=None), train, trials=2, method="random", space={"learning_rate": [0.5]})


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials is 0; it must be None or a whole number from 1"),
        ({"timeout": 0}, "timeout is 0; it must be None or a finite number above 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"metric": "ndgc@10"}, "metric 'ndgc@10' is unknown. Did you mean 'ndcg@10'?"),
        ({"metric": ["ndcg@10"]}, "metric is ['ndcg@10']; give the name of one"),
        ({"metric": "gini@10"}, "metric is 'gini@10', which says what lists are like and not how good they are"),
        ({"method": "bayes"}, "method is 'bayes'; it must be 'auto', 'optuna', 'random', 'grid'"),
        ({"random_state": -1}, "random_state is -1"),
        ({"validation": 1.5}, "validation is 1.5; give ancf.Interactions, or a part of train between 0 and 1"),
        ({"space": {}}, "space is {}; give a mapping"),
        ({"space": {"neighbours": [1]}}, "ItemKNN has no option 'neighbours' (given: [1]); did you mean 'neighbors'?"),
        ({"space": {"neighbors": 5}}, "space: neighbors is 5; give several values"),
        ({"space": {"num_threads": [1, 2]}}, "space: num_threads changes no model"),
        ({"method": "grid", "trials": 3}, "trials is 3, and the grid has 37 settings"),
        ({"trails": 3}, "tune has no option 'trails' (given: 3); did you mean 'trials'?"),
        ({"storage": ""}, "storage is ''; give a path"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_its_value_and_the_way_out(train, options, message):
    with pytest.raises(ancf.InvalidParameterError) as error:
        ancf.tune("ItemKNN", train, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("model", "message"), [("item-kn", "did you mean 'item-knn'?"), (3, "3 is no model"), (dict, "is no model")]
)
def test_what_is_no_model_is_refused(train, model, message):
    with pytest.raises(ancf.InvalidParameterError) as error:
        ancf.tune(model, train)
    assert message in str(error.value)


def test_parts_that_cannot_be_measured_are_refused_before_anything_is_trained(train):
    strangers = ancf.Interactions.from_ids(user=["nobody"], item=["00210"], time=["2025-01-01"])
    tried = []
    for part in ("validation", "test"):
        with pytest.raises(ancf.InvalidDataError) as error:
            ancf.tune("als", train, on_trial=tried.append, **{part: strangers})
        assert error.value.__notes__ == [f"That is the {part} part."]
    with pytest.raises(ancf.InvalidDataError, match="not list"):
        ancf.tune("als", [1, 2])
    assert not tried


def test_without_optuna_the_extra_is_named_and_auto_is_random(train, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ancf.MissingExtraError, match=r"pip install 'ancf\[tune\]'"):
        ancf.tune(ALS, train, method="optuna")
    assert ancf.tune(ALS, train, trials=2, space=ALS_SPACE).method == "random"


# ---- what it says


def test_a_trial_is_told_as_it_ends(train, capsys):
    told = []
    result = ancf.tune(ancf.Popular(window=7), train, method="grid", on_trial=told.append, verbose=1)
    assert tuple(told) == result.trials
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"trial 1/3: ndcg@10 {result.trials[0].value:.4f}, as given (")


def test_no_line_of_a_report_is_wider_than_80_columns(train, test_part):
    result = ancf.tune(ancf.ANCF(epochs=1), train, test=test_part, trials=3, method="optuna")
    assert len(result.space) > 6
    assert max(map(len, repr(result).splitlines())) < 80
    assert "(no room for" in repr(result)


def test_what_mattered_is_what_the_figures_follow():
    rng = np.random.default_rng(0)
    space = {"noise": Real(0.0, 1.0), "rate": Real(0.01, 1.0, log=True), "kind": Categorical(["a", "b"])}
    trials = []
    for number in range(1, 41):
        params = {name: each.sample(rng) for name, each in space.items()}
        trials.append(Trial(number, params, "complete", value=-abs(np.log10(params["rate"])) + (params["kind"] == "a")))
    importance = setting_importance(space, trials, {})
    assert list(importance) == ["rate", "kind", "noise"]
    assert importance["rate"] > 0.3 > importance["noise"]
    assert setting_importance(space, trials[:5], {}) == {}


def test_an_option_alone_explains_everything_or_nothing():
    space = {"a": Categorical([0, 1]), "b": Categorical([0, 1])}
    trials = [Trial(at, {"a": at % 2, "b": at // 2 % 2}, "complete", value=float(at % 2)) for at in range(16)]
    assert setting_importance(space, trials, {}) == {"a": 1.0, "b": 0.0}


def test_the_picture_is_text_that_can_be_read_and_the_same_each_time(train, tmp_path):
    result = ancf.tune(ALS, train, trials=14, space={**ALS_SPACE, "use_weights": [False, True]}, method="random")
    first, second = result.plot(tmp_path / "a.svg"), result.plot(tmp_path / "b.svg")
    assert first.read_bytes() == second.read_bytes()
    texts = " ".join(each.text or "" for each in ElementTree.parse(first).iter() if each.tag.endswith("text"))
    for word in ("What mattered", "regularization", "unobserved_weight", "ndcg@10", "%"):
        assert word in texts


def test_without_matplotlib_the_extra_is_named(train, tmp_path, monkeypatch):
    result = ancf.tune("popular", train, trials=1)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ancf.MissingExtraError, match=r"pip install 'ancf\[tune\]'"):
        result.plot(tmp_path / "a.svg")


# ---- the seam


def test_a_watcher_sees_each_epochs_metric_and_what_it_raises_leaves_the_model_as_it_was(train):
    before, after = ancf.time_split(train, (0.8, 0.2))
    seen = []
    model = ancf.ALS(factors=4, epochs=4, patience=None)
    with watch_epochs(lambda epoch, value: seen.append((epoch, value))):
        model.fit(before, validation=after)
    assert seen == list(enumerate(model.history_["ndcg@10"], 1))
    state = model.to_bytes()

    def stop(epoch, value):
        raise RuntimeError

    with pytest.raises(RuntimeError), watch_epochs(stop):
        model.fit(before, validation=after)
    assert model.to_bytes() == state
    model.fit(before, validation=after)  # nobody watches any more


def test_a_proposal_follows_from_the_seed_and_the_trials_alone():
    space = {"a": Real(0.0, 1.0), "b": Integer(1, 50)}
    trials = [Trial(n, {"a": n / 9, "b": n}, "complete", value=float(n % 4)) for n in range(2, 9)]

    def proposed(made):
        for trial in trials:
            made.add(trial)
        return made.propose(9)

    # One that has proposed and thrown away before proposes the same.
    fresh = proposals.OptunaProposals(space, 3, {"a": "auto", "b": 1}, "ndcg@10")
    used = proposals.OptunaProposals(space, 3, {"a": "auto", "b": 1}, "ndcg@10")
    used.propose(2)
    assert proposed(fresh) == proposed(used)
