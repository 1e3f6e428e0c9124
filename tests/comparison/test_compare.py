"""``ancf.compare``: who takes part, what is measured, and what is said."""

import io
import json
import time
import warnings

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf import models
from ancf.comparison import progress
from ancf.comparison.pairs import compare_figures
from ancf.comparison.sentence import verdict_sentence

METRICS = ["ndcg@5", "recall@5", "coverage@5"]


class Untouched(ancf.Popular):
    """Nothing is wrong with it, but nobody may fit it."""

    def fit(self, interactions, validation=None):
        raise AssertionError


@pytest.fixture(scope="module")
def result(split):
    return ancf.compare([ancf.Popular(), ancf.ItemKNN(), ancf.ItemKNN(neighbors=5)], *split, METRICS)


def test_every_model_has_the_same_sampled_candidates_and_the_result_says_so(split):
    found = ancf.compare(["popular", "item-knn"], *split, METRICS, candidates="sampled", n_negatives=20, random_state=3)
    train, test = split
    for name, model in (("Popular", ancf.Popular()), ("ItemKNN", ancf.ItemKNN())):
        alone = ancf.evaluate(model.fit(train), test, METRICS, candidates="sampled", n_negatives=20, random_state=3)
        assert dict(found[name]) == dict(alone)
    assert found.sentence.endswith("The lists rank what was bought and 20 sampled items, not all items.")
    assert any("20 sampled items: no estimate of figures over all items" in note for note in found.notes)
    assert found.to_dict()["about"]["candidates"] == "20 sampled"


def test_given_candidates_are_those_of_every_model(split):
    train, test = split
    allowed = {user: train.item_ids.values[:30].tolist() for user in test.user_ids.values.tolist()}
    found = ancf.compare(["popular"], train, test, METRICS, candidates=allowed)
    alone = ancf.evaluate(ancf.Popular().fit(train), test, METRICS, candidates=allowed)
    assert dict(found["Popular"]) == dict(alone)
    assert found.sentence.endswith("The lists rank given candidates, not all items.")


class Endless(ancf.Popular):
    """Never done."""

    def fit(self, interactions, validation=None):
        while True:
            time.sleep(0.01)


# ---- who takes part


@pytest.mark.parametrize("group", ["all", "quick", "classical", "neural"])
def test_groups_are_those_of_the_registry(group, split, monkeypatch):
    from ancf.comparison.contestants import find_contestants

    names = models.names_in(group)
    assert [each.label for each in find_contestants(group, refit=False, num_threads=None)] == names
    trained = {name: entry for name, entry in models.MODELS.items() if entry.cli_name}
    assert set(models.names_in("classical")) | set(models.names_in("neural")) == set(trained)
    assert {"Popular", "ItemKNN", "EASE", "ANCF"} <= set(models.names_in("quick"))
    assert "ANCF" not in models.names_in("classical")
    assert "Factors" not in models.names_in("all")


def test_names_classes_and_models_may_be_mixed_and_a_model_of_two_groups_is_one_row(split):
    found = ancf.compare(["popular", ancf.ItemKNN, ancf.SVD(epochs=1), "Popular"], *split, "recall@5")
    assert list(found) == ["Popular", "ItemKNN", "SVD"]


def test_lists_made_elsewhere_are_measured_on_the_same_users(split, tmp_path):
    train, test = split
    model = ancf.ItemKNN().fit(train)
    lists = model.recommend_all(N=5).to_pandas()
    lists.to_csv(tmp_path / "theirs.csv", index=False)

    class Library:
        def recommend(self, user, N):
            return model.recommend(user, N=N).ids

    found = ancf.compare(
        {"knn": model, "table": lists[["user_id", "item_id", "score"]], "library": Library()}, train, test, METRICS
    )
    assert dict(found["knn"]) == dict(found["table"]) == dict(found["library"])
    assert found.difference("knn", "table").value == 0
    assert found.sentence == f"Nobody won: knn and table have the same ndcg@5, {found['knn']['ndcg@5']:.4f}."


def test_lists_made_elsewhere_have_what_describes_lists_and_no_auc(split):
    train, test = split
    model = ancf.ItemKNN().fit(train)
    theirs = model.recommend_all(N=5).to_pandas()[["user_id", "item_id", "rank"]]
    described = ["coverage@5", "novelty@5", "diversity@5", "serendipity@5", "gini@5", "popularity_bias@5"]
    found = ancf.compare({"theirs": theirs, "ours": model}, train, test, ["ndcg@5", *described, "auc"])
    assert found.failures == {}
    assert {name: found["theirs"][name] for name in described} == {name: found["ours"][name] for name in described}
    assert "auc" in found["ours"]
    assert "auc" not in found["theirs"]
    alone = ancf.compare({"theirs": theirs, "ours": model}, train, test, "auc")
    assert alone.failures == {
        "theirs": "failed: lists rank no whole catalogue and predict nothing, so that there is no auc"
    }


def test_a_file_of_lists_is_called_by_its_name(split, tmp_path):
    # What stands in a text file are texts.
    train, test = (
        ancf.Interactions.from_ids(user=part["user_id"].astype(str), item=part["item_id"].astype(str))
        for part in (each.to_pandas() for each in split)
    )
    ancf.ItemKNN().fit(train).recommend_all(N=5).to_pandas().to_csv(tmp_path / "theirs.csv", index=False)
    found = ancf.compare([ancf.ItemKNN(), tmp_path / "theirs.csv"], train, test, METRICS)
    assert list(found) == ["ItemKNN", "theirs"]
    assert dict(found["theirs"]) == dict(found["ItemKNN"])


def test_unknown_ids_and_duplicates_in_lists_are_told(split):
    train, test = split
    users = np.unique(test.to_pandas()["user_id"])
    lists = pd.DataFrame({"user_id": np.repeat(users[1:], 3), "item_id": [1, 1, 9999] * (len(users) - 1)})
    lists["rank"] = [1, 2, 3] * (len(users) - 1)
    found = ancf.compare({"theirs": lists, "Popular": "Popular"}, train, test, METRICS)
    [note] = [each for each in found.notes if each.startswith("theirs: ")]
    assert "1 users have no list and count with 0" in note
    assert "places hold items that are neither in training nor in the test table" in note
    assert "places hold an item that stands further up already" in note
    assert note in " ".join(repr(found).split())


def test_a_name_that_is_none_gets_the_nearest(split):
    for wrong, nearest in (("Populr", "Popular"), ("quik", "quick"), ("atention", "attention")):
        with pytest.raises(ancf.InvalidParameterError, match=f"no model '{wrong}'; did you mean '{nearest}'"):
            ancf.compare([wrong], *split)


def test_a_group_s_name_is_not_free_for_a_model():
    with pytest.raises(ancf.InvalidParameterError, match="cli_name='quick' is the name of a group"):
        models.register(Untouched, "quick")


# ---- what is measured


def test_every_user_s_value_is_kept_and_the_mean_is_theirs(result, split):
    frame = result.per_user("recall@5")
    assert list(frame) == ["user_id", "Popular", "ItemKNN()", "ItemKNN(neighbors=5)"]
    assert frame["Popular"].mean() == result["Popular"]["recall@5"]
    low, high = result.interval("Popular", "recall@5")
    assert low < result["Popular"]["recall@5"] < high
    assert result.interval("Popular", "coverage@5") is None


def test_a_difference_is_that_of_the_means_and_turns_round_with_its_models(result):
    found, turned = result.difference("ItemKNN()", "Popular"), result.difference("Popular", "ItemKNN()")
    gap = result.per_user()["ItemKNN()"] - result.per_user()["Popular"]
    assert found.value == pytest.approx(gap.mean())
    assert (found.won, found.lost, found.tied) == ((gap > 0).sum(), (gap < 0).sum(), (gap == 0).sum())
    assert found.interval[0] <= found.value <= found.interval[1]
    assert (turned.value, turned.won, turned.lost) == (-found.value, found.lost, found.won)
    assert turned.interval == (-found.interval[1], -found.interval[0])
    assert (turned.p_t, turned.p_wilcoxon, turned.more_than_luck) == (found.p_t, found.p_wilcoxon, found.more_than_luck)
    assert turned.reversed() == found
    assert found.n_pairs == 3


def test_tests_and_correction_are_scipy_s_and_holm_s_over_all_pairs(result):
    from scipy import stats

    frame = result.per_user()
    names = list(result)
    plain = {}
    for first, second in [(0, 1), (0, 2), (1, 2)]:
        plain[names[first], names[second]] = stats.ttest_rel(frame[names[first]], frame[names[second]]).pvalue
    highest = 0.0
    for rank, pair in enumerate(sorted(plain, key=plain.get)):
        highest = max(highest, min(1.0, plain[pair] * (3 - rank)))
        assert result.difference(*pair).t_test.p == pytest.approx(plain[pair], rel=1e-8)
        assert result.difference(*pair).p_t == pytest.approx(highest, rel=1e-8)


def test_the_same_seed_gives_the_same_comparison_and_another_one_other_intervals(split, result):
    again = ancf.compare([ancf.Popular(), ancf.ItemKNN(), ancf.ItemKNN(neighbors=5)], *split, METRICS)
    other = ancf.compare([ancf.Popular(), ancf.ItemKNN()], *split, METRICS, random_state=1)
    assert again.to_dict()["differences"] == result.to_dict()["differences"]
    assert again.interval("Popular") == result.interval("Popular") != other.interval("Popular")


def test_errors_are_of_those_who_predict_the_quantity_and_empty_for_the_others(split):
    found = ancf.compare([ancf.SVD(epochs=2), ancf.Popular()], *split, ["rmse", "recall@5"])
    assert "rmse" in found["SVD"]
    assert "rmse" not in found["Popular"]
    frame = found.to_pandas().set_index("model")
    assert np.isnan(frame.loc["Popular", "rmse"])
    line = next(line for line in repr(found).splitlines() if line.startswith("Popular"))
    assert line.split()[1] == "–"
    two = ancf.compare({"a": ancf.SVD(epochs=2), "b": ancf.SVD(epochs=9)}, *split, "rmse")
    assert two.best() == min(two, key=lambda name: two[name]["rmse"])
    assert two.difference("a", "b").is_better == (two.best() == "a")
    assert "below" in two.sentence
    with pytest.raises(ancf.InvalidParameterError, match="none of these models predicts the quantity, so that mse"):
        ancf.compare([ancf.Popular(), ancf.ItemKNN()], *split, ["mse", "recall@5"])


@pytest.mark.parametrize("metric", ["mse", "rmse", "mae"])
def test_the_interval_of_an_error_is_of_all_pairs_of_the_users_drawn(split, metric):
    train, test = split
    found = ancf.compare({"a": ancf.SVD(epochs=2), "b": ancf.SVD(epochs=9)}, train, test, metric)
    table = test.to_pandas().groupby(["user_id", "item_id"], as_index=False)["weight"].sum()
    table = table[table["user_id"].isin(train.user_ids.values) & table["item_id"].isin(train.item_ids.values)]
    errors = {
        name: model.predict(table["user_id"], table["item_id"]) - table["weight"].to_numpy()
        for name, model in found.models.items()
    }
    rows = [np.flatnonzero(table["user_id"] == user) for user in np.unique(table["user_id"])]
    draws = np.random.default_rng(0).integers(0, len(rows), (1000, len(rows)), dtype=np.int64)
    figures = {name: [] for name in errors}
    for drawn in draws:
        pairs = np.concatenate([rows[user] for user in drawn])
        for name, error in errors.items():
            mean = np.mean(np.abs(error[pairs]) if metric == "mae" else error[pairs] ** 2)
            figures[name].append(np.sqrt(mean) if metric == "rmse" else mean)
    a, b = np.array(figures["a"]), np.array(figures["b"])
    assert found.interval("a") == pytest.approx(np.quantile(a, [0.025, 0.975]), rel=1e-6)  # float32 predictions
    assert found.difference("a", "b").interval == pytest.approx(np.quantile(a - b, [0.025, 0.975]), rel=1e-4)
    assert found["a"].stderr(metric) == pytest.approx(a.std(), rel=0.2)  # a bootstrap against its first order


def test_slices_add_up_to_the_whole(result):
    document = result.to_dict()
    assert {"history_length", "popularity"} <= set(document["slices"])
    for groups in document["slices"].values():
        assert sum(each["users"] for each in groups) == result.n_users
        for name in result:
            whole = sum(each["users"] * each["means"][name]["ndcg@5"] for each in groups) / result.n_users
            assert whole == pytest.approx(result[name]["ndcg@5"])


def test_users_are_sliced_by_the_category_of_most_of_what_they_bought():
    train = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "a", "c", "b"])
    test = ancf.Interactions.from_ids(
        user=[1, 2, 3, 3], item=["c", "b", "a", "c"], item_categories={"a": "tea", "b": "tea", "c": "pots"}
    )
    found = ancf.compare("Popular", train, test, "recall@1").to_dict()["slices"]["category"]
    assert {each["label"]: each["users"] for each in found} == {"pots": 2, "tea": 1}


def test_what_it_holds_is_json(result):
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["best"] == result.best()
    assert document["sentence"] == result.sentence
    assert [each["model"] for each in document["models"]] == list(result)
    assert document["models"][0]["metrics"]["ndcg@5"]["value"] == result["Popular"]["ndcg@5"]
    assert len(document["differences"]) == 3 * 2  # pairs, and metrics with a value for each user
    assert document["about"]["train"]["events"] > 0


def test_a_notebook_shows_the_sentence_and_the_tables_with_nothing_to_run(split):
    found = ancf.compare({"<b>one</b>": ancf.Popular(), "two": ancf.ItemKNN()}, *split, "recall@5")
    page = found._repr_html_()
    assert "<b>one</b>" not in page
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert page.count("<table>") == 3


def test_no_line_is_wider_than_eighty_columns(split):
    found = ancf.compare(
        [ancf.ItemKNN(neighbors=each) for each in (1, 22, 333)], *split, baseline="ItemKNN(neighbors=1)"
    )
    assert max(map(len, repr(found).splitlines())) <= 80


def test_settings_are_chosen_on_a_part_of_the_training_table_and_models_of_yours_are_as_given(split):
    train, test = split
    own = ancf.ItemKNN(neighbors=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a random part leaks, which this table does not care about
        found = ancf.compare({"tuned": "ItemKNN", "own": own, "Popular": "Popular"}, train, test, "recall@5", tune=4)
        expected = ancf.tune(ancf.ItemKNN, train, trials=4, metric="recall@5").best_params
    model = found.models["tuned"]
    assert {name: model.get_params()[name] for name in expected} == expected
    assert dict(found["tuned"]) == dict(ancf.evaluate(ancf.ItemKNN(**expected).fit(train), test, "recall@5"))
    assert found.models["own"].get_params() == own.get_params()
    assert found.to_pandas()["tune_s"].notna().tolist() == [True, False, True]
    assert "not tuned, with the options as given or nothing to choose: own" in found.notes


def test_what_settings_are_chosen_by_says_how_good_the_model_is(split):
    from ancf.comparison.budget import Budget

    goal = Budget(2, ("gini@5", "rmse", "recall@5"), True, None, 0)
    by_hits = ancf.tune(ancf.ItemKNN, split[0], trials=2, metric="recall@5").best_params
    assert goal.options(ancf.ItemKNN(), split[0]) == by_hits
    by_error = ancf.tune(ancf.SVD, split[0], trials=2, metric="rmse").best_params
    assert goal.options(ancf.SVD(), split[0]) == by_error
    with pytest.raises(ancf.InvalidParameterError, match="none of rmse says how good ItemKNN is"):
        goal._replace(metrics=("rmse",)).options(ancf.ItemKNN(), split[0])


def test_tuning_with_nothing_to_choose_and_a_validation_table_without_tuning_are_refused(split):
    with pytest.raises(ancf.InvalidParameterError, match="tune=3 has nothing to choose"):
        ancf.compare([ancf.ItemKNN()], *split, "recall@5", tune=3)
    with pytest.raises(ancf.InvalidParameterError, match="validation is what tune= measures settings on"):
        ancf.compare(["ItemKNN"], *split, "recall@5", validation=split[1])


# ---- what is said


def figures(first, second):
    values = {"ndcg@10": {"ANCF": float(np.mean(first)), "EASE": float(np.mean(second))}}
    users = {"ndcg@10": {"ANCF": np.array(first, float), "EASE": np.array(second, float)}}
    return compare_figures(values, users, 0)["ndcg@10"]


def sentence(first, second, ours=("ANCF",)):
    found = figures(first, second)
    lead = found.differences["ANCF", "EASE"]
    lead = lead if lead.is_better or not lead.value else lead.reversed()
    return verdict_sentence(lead, found.values, ours, "ndcg@10", [])


GOOD, BAD = np.linspace(0.3, 0.6, 40), np.linspace(0.1, 0.4, 40) + np.tile([0.0, 0.01], 20)


def test_ours_that_lost_is_said_first():
    assert sentence(BAD, GOOD).startswith("ANCF lost: EASE is the best with ndcg@10 0.4500, 0.1950 or 76 % above ANCF")
    assert "and that is more than luck (paired t p <.001, Wilcoxon p <.001)" in sentence(BAD, GOOD)


def test_ours_that_won_and_others_are_said_plainly():
    assert sentence(GOOD, BAD).startswith("ANCF won with ndcg@10 0.4500, 0.1950 or 76 % above EASE")
    assert sentence(BAD, GOOD, ours=()).startswith("EASE won with ndcg@10")


def test_a_small_lead_may_be_luck_also_when_it_is_ours():
    noisy = GOOD + np.tile([0.2, -0.19], 20)
    assert sentence(noisy, GOOD).startswith("ANCF won")
    assert "but that may be luck (paired t p = ." in sentence(noisy, GOOD)


def test_where_the_two_tests_disagree_it_may_be_luck():
    # Nearly everybody is a little worse off, and a few are much better off.
    first = np.where(np.arange(60) < 8, 1.0, 0.09)
    second = np.where(np.arange(60) < 8, 0.0, 0.1) + np.linspace(0, 0.001, 60)
    lead = figures(first, second).differences["ANCF", "EASE"]
    assert lead.value > 0
    assert lead.lost > lead.won
    assert lead.p < 0.05
    assert lead.more_than_luck is False


def test_one_user_is_too_few_to_tell():
    train = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
    test = ancf.Interactions.from_ids(user=[1], item=["c"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ancf.compare({"one": {1: ["b", "c"]}, "other": {1: ["c"]}}, train, test, "mrr@2")
        assert found.sentence == (
            "other won with mrr@2 1.0000, 0.5000 or 100 % above one, and there are too few customers to tell whether "
            "that is more than luck."
        )
        json.dumps(found.to_dict(), allow_nan=False)
        repr(found)
    assert found.difference("one", "other").more_than_luck is None


def test_a_constant_model_gives_numbers_and_no_warning(split):
    train, test = split
    nothing = {user: [10**6] for user in test.user_ids.values.tolist()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ancf.compare({"nothing": nothing, "nothing else": nothing, "Popular": "Popular"}, train, test, METRICS)
        json.dumps(found.to_dict(), allow_nan=False)
    same = found.difference("nothing", "nothing else")
    assert (same.value, same.p, same.more_than_luck) == (0.0, 1.0, False)
    assert found.interval("nothing") == (0.0, 0.0)


def test_a_model_alone_has_nobody_to_be_held_against(split):
    found = ancf.compare("Popular", *split, "recall@5")
    assert "there is nothing else to hold it against" in found.sentence


def test_metrics_that_describe_lists_decide_nothing(split):
    found = ancf.compare(["Popular", "ItemKNN"], *split, ["coverage@5", "novelty@5"])
    assert found.sentence.startswith(
        "Nobody won: coverage@5, novelty@5 describe lists without saying how good they are."
    )
    found = ancf.compare(["Popular", "ItemKNN"], *split, ["gini@5", "popularity_bias@5", "recall@5"])
    assert found.metric == "recall@5"
    assert "with recall@5" in found.sentence
    assert found.difference("Popular", "ItemKNN", "popularity_bias@5").value > 0


def test_a_model_fitted_on_another_table_is_refused_before_anything_is_fitted(split):
    train, test = split
    everything = ancf.concat([train, test])
    with pytest.raises(ancf.InvalidDataError, match="Popular was fitted on another table than train"):
        ancf.compare([ancf.Popular().fit(everything), Untouched()], train, test, "recall@5")
    again = ancf.compare([ancf.Popular().fit(everything), "ItemKNN"], train, test, "recall@5", refit=True)
    assert dict(again["Popular"]) == dict(ancf.evaluate(ancf.Popular().fit(train), test, "recall@5"))


def test_parts_that_leak_are_noted():
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 1], item=["a", "b", "a", "c", "c"], time=[1, 5, 2, 6, 3])
    parts = [data.subset([0, 1, 3, 4]), data.subset([2])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ancf.compare("Popular", *parts, "recall@1")
    assert any(note.startswith("leak: 1 test events lie before") for note in found.notes)


def test_the_baseline_is_a_row_and_may_be_named_as_on_the_command_line(split):
    found = ancf.compare(["popular", "item-knn"], *split, "recall@5", baseline="item-knn")
    assert found.baseline == "ItemKNN"
    assert "recall@5 against the baseline" in repr(found)
    with pytest.raises(ancf.InvalidParameterError, match="baseline is 'EASE'; it must be one of the rows: Popular"):
        ancf.compare(["popular", "item-knn"], *split, "recall@5", baseline="EASE")


def test_k_above_the_catalogue_measures_all_there_is(split):
    found = ancf.compare(["Popular", "ItemKNN"], *split, "recall@100000")
    assert 0 < found["Popular"]["recall@100000"] <= 1


def test_a_misspelt_metric_is_refused_before_anything_is_fitted(split):
    with pytest.raises(ancf.InvalidParameterError, match="'ndgc@10'"):
        ancf.compare(Untouched(), *split, "ndgc@10")


def test_test_users_without_new_items_are_said_to_be_none(split):
    train, _ = split
    with pytest.raises(ancf.InvalidDataError, match="no test pair is left to rank"):
        ancf.compare(["Popular", "ItemKNN"], train, train, "recall@5")


# ---- pieces of attention


def test_pieces_are_held_against_the_one_they_are_added_to(split, monkeypatch):
    from ancf.models import ablation

    small = ablation.attention_pieces
    monkeypatch.setattr(ablation, "attention_pieces", lambda: small(factors=4, epochs=1, negatives=8))
    found = ancf.compare("attention", *split, "ndcg@5")
    assert list(found) == list(ablation.PIECES)
    shown = {each.first: each.second for each in found.differences()}
    assert shown == {name: piece.over for name, piece in ablation.PIECES.items() if piece.over}
    assert "what each piece adds" in repr(found)
    assert found.sentence.count("no history") >= 1
    assert found.to_dict()["over"]["mean"] == "no history"
    mixed = ancf.compare([small(factors=4, epochs=1)["mean"], "Popular"], *split, "ndcg@5")
    assert mixed.over is None


# ---- what is shown meanwhile


def test_a_log_has_a_line_for_each_model_and_a_pipe_nothing_unless_asked(split, capsys):
    ancf.compare(["Popular", "ItemKNN"], *split, "recall@5")
    assert capsys.readouterr() == ("", "")
    ancf.compare(["Popular", "ItemKNN"], *split, "recall@5", show_progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines()] == ["Popular", "ItemKNN"]
    assert "recall@5 0." in err


def test_the_table_says_how_far_it_is_and_about_how_long_the_rest_takes(split):
    from rich.console import Console

    table = progress._Table(["a", "b", "c"], ["recall@5"], 60.0)
    table.began = table.began_model = 1000.0
    assert table.state(1000.0) == "0 of 3 done in 0.0 s; at most 3 min"
    table.texts["a"] = "done"
    table.running, table.began_model = "b", 1010.0
    assert table.state(1014.0) == "1 of 3 done in 14 s; about 16 s left, at most 2 min"
    table.names = ["a", "b"]
    assert table.state(1025.0) == "1 of 2 done in 25 s; at most 45 s"
    table.names = ["a", "b", "c"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table.render())
    shown = console.export_text().splitlines()
    assert [line.split()[0] for line in shown[:3]] == ["a", "b", "c"]
    assert "waiting" in shown[2]
