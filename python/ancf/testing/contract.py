"""The battery that every recommender of ancf passes: one scorer, raw ids, honest lengths, the same bits everywhere."""

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ancf
from ancf.data.interactions import Interactions
from ancf.errors import InvalidCallError, InvalidParameterError, NotFittedError, UnknownItemError, UnknownUserError
from ancf.models.base import Recommender
from ancf.scoring import scorer_arrays
from ancf.scoring.similar import has_item_similarity

_THREADS = (1, 2, 3, 8)


def example_table(n_users: int = 40, n_items: int = 30, n_events: int = 400, seed: int = 5) -> Interactions:
    """A table with a long tail, a user who has everything, a user with one item, and text ids with leading zeros."""
    rng = np.random.default_rng(seed)
    users = rng.integers(2, n_users, n_events)
    items = np.minimum((rng.pareto(1.1, n_events) * 4).astype(int), n_items - 1)
    users = np.concatenate([users, np.zeros(n_items, int), [1]])
    items = np.concatenate([items, np.arange(n_items), [3]])
    return Interactions.from_ids(
        user=[f"{user:03d}" for user in users],
        item=[f"P{item:02d}" for item in items],
        item_names={f"P{item:02d}": f"product {item}" for item in range(n_items)},
    )


class ModelContract:
    """Subclass it in a test module, say how to ``make`` an unfitted model, and pytest runs the battery.

    Override ``fitted`` for a model that cannot be fitted, and the flags for what a model does not promise.
    """

    #: whether ``similar_items`` has an answer; None: as the model has vectors or item-item weights
    compares_items: bool | None = None
    #: whether a user of the training table, folded in from their history, gets the scores that training gave
    fold_in_is_exact = True
    #: whether ``fit`` and ``clone`` apply
    fits = True
    _fitted_once: Recommender | None = None

    def make(self, **options: Any) -> Recommender:
        """A new, unfitted model; ``options`` such as ``num_threads`` are passed on."""
        raise NotImplementedError

    def fitted(self, data: Interactions, **options: Any) -> Recommender:
        """A model fitted on ``data``."""
        return self.make(**options).fit(data)

    @pytest.fixture
    def data(self) -> Interactions:
        """The training table."""
        return example_table()

    @pytest.fixture
    def model(self, data: Interactions) -> Recommender:
        """The model under test, fitted once for the class."""
        kept = type(self).__dict__.get("_fitted_once")
        if kept is None:
            kept = self.fitted(data)
            type(self)._fitted_once = kept
        return kept

    # ---- lists

    def test_one_user_gets_the_same_list_as_among_many_and_among_all(self, model: Recommender) -> None:
        users = model.user_ids_.values
        every, every_scores = model.recommend_all(N=5)
        many, many_scores = model.recommend(list(users), N=5)
        for at, user in enumerate(users):
            ids, scores = model.recommend(user, N=5)
            for other, other_scores in ((every, every_scores), (many, many_scores)):
                assert ids.tolist() == other[at].tolist()
                assert scores.tobytes() == np.ascontiguousarray(other_scores[at]).tobytes()

    def test_a_list_is_the_full_sort_of_the_predicted_scores(self, model: Recommender) -> None:
        items = model.item_ids_.values
        for user in model.user_ids_.values[:8]:
            scores = model.predict(user, items)
            ids, listed = model.recommend(user, N=len(items), filter_already_liked_items=False)
            if model._fitted().link == "identity":
                order = np.lexsort((np.arange(len(items)), -scores))
            else:  # the order is that of the numbers before the sigmoid, some of which it makes equal
                order = model.item_ids_.positions(ids)
                assert len(set(order.tolist())) == len(items)
                assert (np.diff(listed) <= 0).all()
            assert ids.tolist() == items[order].tolist()
            assert listed.tobytes() == scores[order].tobytes()

    def test_nobody_is_shown_what_they_have(self, model: Recommender, data: Interactions) -> None:
        had = data.to_pandas().groupby("user_id")["item_id"].agg(set)
        ids, _ = model.recommend_all(N=len(model.item_ids_))
        for user, row in zip(model.user_ids_.values, ids, strict=True):
            assert not had[user] & set(row)
            assert len(row) == len(set(row)) == len(model.item_ids_) - len(had[user])

    def test_a_user_who_has_everything_gets_an_empty_list(self, model: Recommender) -> None:
        ids, scores = model.recommend("000", N=3)
        assert ids.shape == scores.shape == (0,)

    def test_there_are_as_many_rows_as_are_eligible_and_no_more(self, model: Recommender) -> None:
        some = model.item_ids_.values[4:7]
        kept: dict[str, Any] = {"filter_already_liked_items": False}
        assert len(model.recommend("001", N=10, items=some, **kept).ids) == 3
        assert len(model.recommend("001", N=10, items=some, filter_items=some[0], **kept).ids) == 2
        assert len(model.recommend("001", N=10, items=some, filter_items=list(some), **kept).ids) == 0
        assert len(model.recommend("001", N=2, items=some, **kept).ids) == 2

    def test_filters_agree_however_they_are_written(self, model: Recommender) -> None:
        values = model.item_ids_.values
        users, some = list(model.user_ids_.values[:6]), values[::3]
        flat = model.recommend(users, N=4, items=list(some)).to_pandas()
        forms: list[Any] = [np.isin(values, some), [list(some)] * 6, {user: list(some) for user in users}, set(some)]
        for form in forms:
            assert model.recommend(users, N=4, items=form).to_pandas().equals(flat)
        rest = [item for item in values if item not in set(some)]
        forms = [rest, ~np.isin(values, some), [rest] * 6, dict.fromkeys(users, rest), iter(rest)]
        for form in forms:
            assert model.recommend(users, N=4, filter_items=form).to_pandas().equals(flat)

    def test_lists_of_different_length_come_back_ragged_and_in_the_table(self, model: Recommender) -> None:
        recs = model.recommend(["000", "001"], N=5)
        assert [len(row) for row in recs.ids] == [len(row) for row in recs.scores] == [0, 5]
        table = recs.to_pandas()
        assert table["user_id"].tolist() == ["001"] * 5
        assert table["rank"].tolist() == [1, 2, 3, 4, 5]
        names = [] if model.item_names_ is None else ["name"]
        assert list(table.columns) == ["user_id", "item_id", *names, "score", "rank", "source"]

    # ---- the unknown

    def test_an_unknown_user_is_named_or_served_as_asked(self, model: Recommender) -> None:
        with pytest.raises(UnknownUserError, match="'nobody'"):
            model.recommend("nobody")
        with pytest.raises(UnknownUserError, match="'nobody'"):
            model.recommend(["001", "nobody"])
        ids, _ = model.recommend(["nobody", "001"], N=3, on_unknown="skip")
        assert len(ids[0]) == 0
        assert ids[1].tolist() == model.recommend("001", N=3).ids.tolist()
        recs = model.recommend(["nobody", "001"], N=3, on_unknown="popular")
        assert set(recs.to_pandas()["source"]) == {"popular", "model"}
        assert recs.ids[1].tolist() == model.recommend("001", N=3).ids.tolist()

    def test_an_unknown_item_is_named(self, model: Recommender) -> None:
        with pytest.raises(UnknownItemError, match="'nothing'"):
            model.predict("001", ["nothing"])
        with pytest.raises(UnknownItemError, match="'nothing'"):
            model.recommend_for_history(["P01", "nothing"])
        assert model.recommend_for_history(["P01", "nothing"], on_unknown="skip", N=2).ids.shape == (2,)

    @pytest.mark.parametrize("N", [0, -1, 1.5, "3", None, True])
    def test_an_absurd_n_is_refused(self, model: Recommender, N: Any) -> None:
        with pytest.raises(InvalidParameterError, match="N is"):
            model.recommend("001", N=N)
        with pytest.raises(InvalidParameterError, match="N is"):
            model.recommend_all(N=N)

    # ---- histories

    def test_a_history_gets_a_list_without_itself(self, model: Recommender) -> None:
        recs = model.recommend_for_history(["P01", "P02"], N=5)
        assert recs.ids.shape == (5,)
        assert not {"P01", "P02"} & set(recs.ids)
        both, scores = model.recommend_for_history([["P01", "P02"], ["P03"]], N=5)
        assert both[0].tolist() == recs.ids.tolist()
        assert scores[0].tobytes() == recs.scores.tobytes()

    def test_the_order_of_a_history_does_not_matter(self, model: Recommender) -> None:
        first = model.recommend_for_history(["P01", "P05", "P02"], N=5)
        assert first.to_pandas().equals(model.recommend_for_history(["P05", "P02", "P01"], N=5).to_pandas())

    def test_a_known_user_folded_in_gets_the_list_of_training(self, model: Recommender, data: Interactions) -> None:
        if not self.fold_in_is_exact:
            pytest.skip("this model keeps something of a user that is not in the history")
        table = data.to_pandas().groupby(["user_id", "item_id"])["weight"].sum()
        for user in model.user_ids_.values[1:9]:
            ids, scores = model.recommend(user, N=5)
            folded, folded_scores = model.recommend_for_history(table[user].to_dict(), N=5)
            assert np.allclose(scores, folded_scores, rtol=1e-4, atol=1e-6)
            assert ids.tolist() == folded.tolist()

    # ---- scores

    def test_an_explanation_adds_up_to_the_score(self, model: Recommender) -> None:
        for user in model.user_ids_.values[1:7]:
            ids, scores = model.recommend(user, N=3)
            for item, score in zip(ids, scores, strict=True):
                why = model.explain(user, item)
                assert why.score == score
                total = why.total if model._fitted().link == "identity" else 1 / (1 + math.exp(-why.total))
                assert total == pytest.approx(float(score), rel=1e-5, abs=1e-6)
                assert str(item) in repr(why)

    def test_the_explanation_of_a_history_has_the_score_of_its_list(self, model: Recommender) -> None:
        request: dict[str, Any] = {"history": ["P01", "P05", "P02"], "weights": [1, 2, 1], "times": [0, 86400, 172800]}
        ids, scores = model.recommend_for_history(**request, N=3)
        for item, score in zip(ids, scores, strict=True):
            assert model.explain(**request, item=item).score == score

    def test_similar_items_leave_the_item_itself_out(self, model: Recommender) -> None:
        if not (has_item_similarity(model._fitted()) if self.compares_items is None else self.compares_items):
            with pytest.raises(InvalidParameterError, match="likeness"):
                model.similar_items("P01")
            return
        ids, scores = model.similar_items("P01", N=4)
        assert "P01" not in ids
        assert (np.diff(scores) <= 0).all()
        many = model.similar_items(model.item_ids_.values, N=4)
        at = model.item_ids_.position("P01")
        assert many.ids[at].tolist() == ids.tolist()

    def test_threads_do_not_change_a_bit(self, data: Interactions) -> None:
        results = set()
        for threads in _THREADS:
            ids, scores = self.fitted(data, num_threads=threads).recommend_all(N=4)
            results.add((str([list(row) for row in ids]), b"".join(np.asarray(row).tobytes() for row in scores)))
        assert len(results) == 1

    # ---- updates

    def test_an_update_equals_the_sum_of_its_parts_or_is_refused(self, data: Interactions) -> None:
        begin = None if data.times is None else int(data.times.max())
        rows = list(zip(["new", "001"] * 6, ["P01", "P02", "P03", "new"] * 3, range(12), strict=True))

        def part(chosen: list[tuple[str, str, int]]) -> Interactions:
            users, items, at = zip(*chosen, strict=True)
            times = None if begin is None else [begin + each for each in at]
            return Interactions.from_ids(list(users), list(items), time=times)

        model = self.fitted(data)
        before = model.to_bytes()
        refused = ""
        try:
            model.partial_fit(part(rows[:5])).partial_fit(part(rows[5:]))
        except InvalidCallError as error:
            refused = str(error)
        if refused:
            assert "anew" in refused
            assert model.to_bytes() == before
            return
        assert {"new"} <= set(model.user_ids_) & set(model.item_ids_)
        assert len(model.recommend("new", N=3, filter_already_liked_items=False).ids) == 3
        assert self.fitted(data).partial_fit(part(rows)).to_bytes() == model.to_bytes()

    # ---- manners and files

    def test_the_constructor_keeps_its_options_and_names_the_nearest_to_a_misspelt_one(self) -> None:
        if not self.fits:
            pytest.skip("this model is not constructed by its user")
        model = self.make()
        assert type(model)(**model.get_params()).get_params() == model.get_params()
        assert model.clone().get_params() == model.get_params()
        with pytest.raises(InvalidParameterError, match="num_threads"):
            self.make(num_thread=1)
        with pytest.raises(InvalidParameterError, match="num_threads"):
            model.set_params(num_thread=1)

    def test_an_unfitted_model_says_so(self) -> None:
        if not self.fits:
            pytest.skip("this model is not constructed by its user")
        asks: tuple[Callable[[Recommender], Any], ...] = (
            lambda model: model.recommend("001"),
            lambda model: model.recommend_all(),
            lambda model: model.predict("001", "P01"),
            lambda model: model.explain("001", "P01"),
        )
        for ask in asks:
            with pytest.raises(NotFittedError, match="fit"):
                ask(self.make())

    def test_a_failed_fit_leaves_the_model_as_it_was(self, data: Interactions) -> None:
        if not self.fits:
            pytest.skip("this model is not fitted by its user")
        model = self.fitted(data)
        before = model.recommend_all(N=3).to_pandas()
        with pytest.raises(ancf.InvalidDataError):
            model.fit("no table")  # type: ignore[arg-type]
        assert model.recommend_all(N=3).to_pandas().equals(before)

    def test_a_model_made_of_its_state_gives_the_same_bits(self, model: Recommender) -> None:
        arrays, meta = scorer_arrays.to_arrays(model._fitted())
        again = type(model)._from_arrays(arrays, meta)
        assert again.recommend_all(N=6).to_pandas().equals(model.recommend_all(N=6).to_pandas())
        assert (
            again.recommend_for_history(["P01"], N=3)
            .to_pandas()
            .equals(model.recommend_for_history(["P01"], N=3).to_pandas())
        )

    def test_a_saved_model_gives_the_same_bits(self, model: Recommender, tmp_path: Path) -> None:
        model.save(tmp_path / "model.ancf")
        again = ancf.load(tmp_path / "model.ancf")
        assert type(again) is type(model)
        assert again.get_params() == model.get_params()
        assert again.recommend_all(N=6).to_pandas().equals(model.recommend_all(N=6).to_pandas())

    def test_the_bytes_of_a_model_are_those_of_its_file(self, model: Recommender, tmp_path: Path) -> None:
        model.save(tmp_path / "model.ancf")
        assert model.to_bytes() == (tmp_path / "model.ancf").read_bytes()
        assert ancf.load(model.to_bytes()).to_bytes() == model.to_bytes()

    def test_a_pickled_or_copied_model_gives_the_same_bits(self, model: Recommender) -> None:
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
            assert type(again) is type(model)
            assert again.get_params() == model.get_params()
            assert again.to_bytes() == model.to_bytes()
            assert again.recommend_all(N=6).to_pandas().equals(model.recommend_all(N=6).to_pandas())
            assert again.recommend("001", N=3).scores.tobytes() == model.recommend("001", N=3).scores.tobytes()

    def test_an_unfitted_model_is_pickled_by_its_options(self) -> None:
        if not self.fits:
            pytest.skip("this model is not constructed by its user")
        model = self.make(num_threads=2)
        again = pickle.loads(pickle.dumps(model))
        assert again.get_params() == model.get_params()
        with pytest.raises(NotFittedError):
            again.to_bytes()

    def test_vectors_are_read_only_and_in_the_order_of_the_ids(self, model: Recommender) -> None:
        if not model._fitted().item_vectors.shape[1]:
            assert not hasattr(model, "item_vectors_")
            with pytest.raises(InvalidParameterError, match="has no vectors"):
                _ = model.user_vectors_
            return
        users, items = model.user_vectors_, model.item_vectors_
        assert users.shape == (len(model.user_ids_), items.shape[1])
        assert len(items) == len(model.item_ids_)
        assert items.dtype == users.dtype == np.float32
        assert not users.flags.writeable
        assert not items.flags.writeable
        scorer = model._fitted()
        if scorer.neighbors is None and scorer.head == "inner" and scorer.link == "identity":
            expected = users[:3].astype(np.float64) @ items.astype(np.float64).T
            shift = 0.0 if scorer.user_shift is None else scorer.user_shift[:3, None]
            bias = 0.0 if scorer.item_bias is None else scorer.item_bias
            found = [model.predict(user, model.item_ids_.values) for user in model.user_ids_[:3]]
            assert np.allclose(found, expected + shift + bias, rtol=1e-4, atol=1e-5)

    def test_a_streamed_file_holds_what_memory_would(self, model: Recommender, tmp_path: Path) -> None:
        import pandas as pd

        result = model.recommend_all(N=4, out=tmp_path / "recs.csv")
        expected = model.recommend_all(N=4).to_pandas()
        found = pd.read_csv(result.path, dtype={"user_id": str, "item_id": str, "score": np.float32})
        assert found["item_id"].tolist() == expected["item_id"].tolist()
        assert found["user_id"].tolist() == expected["user_id"].tolist()
        assert found["score"].to_numpy().tobytes() == expected["score"].to_numpy().tobytes()
        assert [path.name for path in tmp_path.iterdir()] == ["recs.csv"]
