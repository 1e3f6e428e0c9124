"""P3: a training that was interrupted goes on, and ends in the bytes of one that never was.

Each stop raises out of an epoch, or kills the process; each start is a new object. What was killed in the middle of
writing has the old checkpoint or the new one (``rust/core/src/store/save.rs``).
"""

import os
import re
import subprocess
import sys
import textwrap
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf.checkpoints import Checkpoint, open_checkpoint, read
from ancf.demo_shop import demo_shop
from ancf.models.ancf import selection

# 200 on request: ANCF_KILL_ROUNDS=200.
KILLS = int(os.environ.get("ANCF_KILL_ROUNDS", "8"))

MODELS = {
    "softmax": ancf.ANCF(factors=8, epochs=4, patience=1),
    "softmax without an open choice": ancf.ANCF(factors=8, epochs=5, neighbors=0, serving_exponent=0.5, init="random"),
    "bpr": ancf.ANCF(factors=8, epochs=4, loss="bpr", user_factors=True, patience=1),
    "adagrad": ancf.ANCF(
        factors=8,
        epochs=3,
        loss="bce",
        biases=True,
        optimizer="adagrad",
        user_dropout=0.3,
        user_factors=True,
        learning_rate=0.05,
    ),
    "sgd": ancf.ANCF(factors=8, epochs=3, attention="learned", half_life=30.0, optimizer="sgd"),
    "target attention": ancf.ANCF(factors=8, epochs=3, attention="target"),
    "factor attention": ancf.ANCF(factors=8, epochs=3, factor_attention=True, output="sigmoid", user_factors=True),
    "classic": ancf.ANCF.classic(factors=8, epochs=4),
    "ALS": ancf.ALS(factors=8, epochs=4),
    "BPR": ancf.BPR(factors=7, epochs=5, patience=1),
    "SVD": ancf.SVD(factors=7, epochs=5),
    "GMF": ancf.GMF(factors=8, epochs=4),
    "MLP": ancf.MLP(factors=8, epochs=4, layers="8,4", dropout=0.2),
    "NeuMF": ancf.NeuMF(factors=8, epochs=4, layers="8,4"),
    "LightGCN": ancf.LightGCN(factors=8, epochs=4, patience=1),
}


pytestmark = pytest.mark.filterwarnings("ignore::ancf.errors.TrainingWarning")


class StoppedError(Exception):
    """What a stop raises."""


@cache
def tables():
    data = ancf.read_interactions(demo_shop(customers=70, products=40))
    return ancf.random_split(data, (0.8, 0.2), random_state=1, on_leak="ignore")


@cache
def uninterrupted(name, validated):
    train, validation = tables()
    return MODELS[name].clone().fit(train, validation if validated else None).to_bytes()


class _Stops:
    """Raises at the given numbers of epochs, counted over all starts."""

    def __init__(self, monkeypatch, at):
        self.at, self.epochs = set(at), 0
        for trainer in (
            "AlsTrainer",
            "BprTrainer",
            "LightGcnTrainer",
            "NetworkTrainer",
            "NeuralTrainer",
            "SoftmaxTrainer",
            "SvdTrainer",
        ):
            monkeypatch.setattr(ancf._native, trainer, self.stopping(getattr(ancf._native, trainer)))

    def stopping(self, native):
        stops = self

        class Stopping:
            def __init__(self, *arguments, **options):
                self._native = native(*arguments, **options)

            def epoch(self, *arguments):
                stops.epochs += 1
                if stops.epochs in stops.at:
                    raise StoppedError
                return self._native.epoch(*arguments)

            def __getattr__(self, name):
                return getattr(self._native, name)

        return Stopping


def finish(name, validated, path, **options):
    """As many starts as it takes; the bytes, and how many starts."""
    train, validation = tables()
    starts = 0
    while True:
        starts += 1
        try:
            model = (
                MODELS[name]
                .clone()
                .fit(train, validation if validated else None, checkpoint=path, resume=True, **options)
            )
            return model.to_bytes(), starts
        except StoppedError:
            assert path.exists()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_stopped_in_every_epoch_ends_in_the_same_bytes(tmp_path, monkeypatch, name):
    path = tmp_path / "going.ancf"
    expected = uninterrupted(name, True)
    # Every second epoch that is begun is stopped, and begun again.
    _Stops(monkeypatch, range(2, 100, 2))
    found, starts = finish(name, True, path)
    assert starts >= 2
    assert found == expected
    assert not path.exists()


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["softmax", "softmax without an open choice", "bpr", "BPR", "LightGCN"]),
    st.booleans(),
    st.sets(st.integers(1, 12), max_size=5),
    st.integers(1, 4),
)
def test_stops_at_any_epochs_change_no_byte(tmp_path_factory, name, validated, at, every):
    path = tmp_path_factory.mktemp("stops") / "going.ancf"
    expected = uninterrupted(name, validated)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _Stops(monkeypatch, at)
        assert finish(name, validated, path, every=every)[0] == expected


def test_a_large_table_which_chooses_at_the_end_goes_on_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "_NEGLIGIBLE_SHARE", 1.0)
    train, _ = tables()
    expected = MODELS["softmax"].clone().fit(train).to_bytes()
    assert expected != uninterrupted("softmax", False)
    _Stops(monkeypatch, [2, 4])
    found, starts = finish("softmax", False, tmp_path / "going.ancf")
    assert (found, starts) == (expected, 3)


def test_what_was_chosen_is_not_chosen_again(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    wanted = uninterrupted("softmax", False)
    _Stops(monkeypatch, [3])  # one epoch chooses
    with pytest.raises(StoppedError):
        MODELS["softmax"].clone().fit(train, checkpoint=path)
    saved = read(path)
    assert (saved.stage, saved.progress["epochs"]) == ("training", 1)
    chosen = {"neighbor_weight", "neighbor_shrinkage", "serving_exponent", "popularity_exponent", "half_life"}
    chosen |= {"trend", "trend_half_life"}
    assert set(saved.chosen) == chosen
    monkeypatch.setattr("ancf.models.ancf.learning.choose", None)
    monkeypatch.setattr("ancf.models.ancf.estimator.choose", None)
    assert finish("softmax", False, path)[0] == wanted


def test_a_training_that_patience_ended_learns_no_more(tmp_path, monkeypatch):
    path, (train, validation) = tmp_path / "going.ancf", tables()
    model = ancf.ANCF(factors=8, epochs=30, patience=1, learning_rate=0.3, serving_exponent=0.5, neighbor_weight=1.0)
    whole = model.clone().fit(train, validation)
    n = len(whole.history_["training_loss"])
    assert whole.history_["best_epoch"] < n < 30

    def stop(*_):
        raise StoppedError

    with pytest.MonkeyPatch.context() as stopping:
        stopping.setattr("ancf.models.ancf.estimator.ridge_neighbors", stop)
        with pytest.raises(StoppedError):
            model.clone().fit(train, validation, checkpoint=path)
    stops = _Stops(monkeypatch, [])
    assert model.clone().fit(train, validation, checkpoint=path, resume=True).to_bytes() == whole.to_bytes()
    assert stops.epochs == 0


def test_a_model_without_a_seed_goes_on_with_the_one_it_drew(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    for model in (ancf.ANCF(factors=8, epochs=3, random_state=None), ancf.BPR(factors=8, epochs=3, random_state=None)):
        stops = _Stops(monkeypatch, [3])
        with pytest.raises(StoppedError):
            model.clone().fit(train, checkpoint=path)
        seed = read(path).seed
        found = model.clone().fit(train, checkpoint=path, resume=True)
        assert found.history_["settings"]["random_state"] == seed
        again = model.clone().set_params(random_state=seed).fit(train)
        assert again.user_vectors_.tobytes() == found.user_vectors_.tobytes()
        stops.at.clear()


def test_any_number_of_threads_may_go_on(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    for name in ("softmax", "bpr", "BPR"):
        expected = uninterrupted(name, False)
        _Stops(monkeypatch, [3])
        with pytest.raises(StoppedError):
            MODELS[name].clone().set_params(num_threads=1).fit(train, checkpoint=path)
        found = MODELS[name].clone().set_params(num_threads=3, verbose=0).fit(train, checkpoint=path, resume=True)
        assert found.to_bytes() == expected


_STORM = """
    import os, random, signal, sys, time
    import ancf
    from ancf.demo_shop import demo_shop

    path, kills = sys.argv[1], int(sys.argv[2])
    table = ancf.read_interactions(demo_shop(customers=70, products=40))
    models = [ancf.ANCF(factors=8, epochs=10), ancf.ANCF(factors=8, epochs=6, loss="bpr", user_factors=True)]
    whole, seconds = [], []
    for model in models:
        began = time.perf_counter()
        whole.append(model.clone().fit(table).to_bytes())
        seconds.append(time.perf_counter() - began)
    draws = random.Random(1)
    killed = finished = right = 0
    while killed < kills and finished < 50 * kills:
        at = finished % 2
        while True:
            began = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                # The system ends this process by itself at a random moment, without a chance to tidy up.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, draws.uniform(0.1, 0.9) * seconds[at])
                same = models[at].clone().fit(table, checkpoint=path, resume=True).to_bytes() == whole[at]
                os._exit(10 + same)
            draws.random()
            status = os.waitpid(pid, 0)[1]
            if os.WIFEXITED(status):
                finished += 1
                right += os.WEXITSTATUS(status) == 11
                # The first fit of a process, on a busy machine, says little of how long the others take.
                seconds[at] = min(seconds[at], time.perf_counter() - began)
                break
            killed += 1
            # A machine that has become slow since would kill every start before its first epoch, for ever.
            seconds[at] *= 1.05
    print(killed >= kills, finished == right > 0, os.listdir(os.path.dirname(path)))
"""


@pytest.mark.skipif(os.name != "posix", reason="fork, and alarms that kill")
def test_kills_at_random_moments_change_no_byte(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_STORM), str(tmp_path / "going.ancf"), str(KILLS)],
        capture_output=True,
        text=True,
        env={**os.environ, "ANCF_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split(maxsplit=2)[:2] == ["True", "True"], run.stdout


# ---- What does not go on


@pytest.fixture
def going(tmp_path, monkeypatch):
    """The checkpoint of an ALS that was stopped in its third epoch."""
    path = tmp_path / "going.ancf"
    with pytest.MonkeyPatch.context() as stopping:
        _Stops(stopping, [3])
        with pytest.raises(StoppedError):
            MODELS["ALS"].clone().fit(*tables(), checkpoint=path)
    return path


def test_another_fit_is_refused_with_what_differs(going):
    train, validation = tables()
    before = going.read_bytes()
    for model, data, held_out, differs in (
        (ancf.ALS(factors=9, epochs=4), train, validation, "factors was 8, is 9"),
        (ancf.ALS(factors=8, epochs=4, patience=None), train, validation, "patience was 3, is None"),
        (ancf.BPR(factors=8, epochs=4), train, validation, "the model was ALS, is BPR"),
        (MODELS["ALS"], train[:-1], validation, "the training table is another"),
        (MODELS["ALS"], train, validation[:-1], "the validation table is another"),
        (MODELS["ALS"], train, None, "there is no validation table"),
    ):
        with pytest.raises(ancf.InvalidDataError, match=re.escape(differs)) as error:
            model.clone().fit(data, held_out, checkpoint=going, resume=True)
        assert str(going) in str(error.value)
        assert "name another file" in str(error.value)
    assert going.read_bytes() == before


def test_another_version_is_refused(going, monkeypatch):
    monkeypatch.setattr(ancf._native, "__version__", "9.9.9")
    with pytest.raises(ancf.InvalidDataError, match=r"the version of ancf was .*, is 9\.9\.9"):
        MODELS["ALS"].clone().fit(*tables(), checkpoint=going, resume=True)


def test_options_that_change_no_bit_may_differ(going):
    model = MODELS["ALS"].clone().set_params(num_threads=2)
    assert model.fit(*tables(), checkpoint=going, resume=True).to_bytes() == uninterrupted("ALS", True)


def test_every_flipped_bit_and_every_cut_is_found_and_leaves_the_model_as_it_was(going):
    whole = going.read_bytes()
    model = MODELS["ALS"].clone()
    places = np.random.default_rng(2).integers(0, len(whole), 40)
    damaged = [whole[:at] for at in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in places.tolist()]
    for content in damaged:
        going.write_bytes(content)
        with pytest.raises(ancf.ModelFileError, match="this is no whole checkpoint") as error:
            model.fit(*tables(), checkpoint=going, resume=True)
        assert str(going) in str(error.value)
        assert "remove it to begin anew" in str(error.value)
        assert going.read_bytes() == content
    with pytest.raises(ancf.NotFittedError):
        model.recommend(1)
    going.unlink()
    assert model.fit(*tables(), checkpoint=going, resume=True).to_bytes() == uninterrupted("ALS", True)


def test_a_file_that_is_there_is_never_written_over(going, tmp_path):
    before = going.read_bytes()
    with pytest.raises(ancf.InvalidParameterError, match=r"is there already\. Go on with it by resume=True"):
        MODELS["ALS"].clone().fit(*tables(), checkpoint=going)
    assert going.read_bytes() == before
    model = tmp_path / "shop.ancf"
    ancf.Popular().fit(tables()[0]).save(model)
    with pytest.raises(ancf.ModelFileError, match=r"no checkpoint, but a model file \(Popular\)"):
        MODELS["ALS"].clone().fit(*tables(), checkpoint=model, resume=True)
    assert isinstance(ancf.load(model), ancf.Popular)


def test_a_checkpoint_is_not_taken_for_a_model(going):
    with pytest.raises(ancf.ModelFileError, match="this is a checkpoint of a training that has not ended"):
        ancf.load(going)
    assert ancf.model_file.inspect(going)["fit"]["model"] == "ALS"


def test_options_without_a_file_are_refused():
    train, _ = tables()
    with pytest.raises(ancf.InvalidParameterError, match="resume=True needs a file"):
        MODELS["ALS"].clone().fit(train, resume=True)
    with pytest.raises(ancf.InvalidParameterError, match="every=2 needs a file"):
        MODELS["ALS"].clone().fit(train, every=2)
    with pytest.raises(ancf.InvalidParameterError, match="every is 0"):
        MODELS["ALS"].clone().fit(train, checkpoint="x", every=0)
    with pytest.raises(ancf.InvalidCallError, match="checkpoint"):
        ancf.Popular().fit(train, checkpoint="x")


def test_a_folder_that_is_not_there_is_told_before_anything_is_learned(tmp_path):
    model = MODELS["ALS"].clone()
    with pytest.raises(FileNotFoundError) as error:
        model.fit(tables()[0], checkpoint=tmp_path / "nowhere" / "going.ancf")
    assert error.value.__notes__ == ["The checkpoint could not be written. Training has not begun."]


def test_a_full_disk_ends_training_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    write, written = ancf.model_file.save, []

    def save(*arguments):
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(ancf.model_file, "save", save)
    with pytest.raises(OSError, match="No space left") as error:
        MODELS["ALS"].clone().fit(train, checkpoint=path)
    (note,) = error.value.__notes__
    assert f"{path} holds 2 epochs of training; the same call with resume=True goes on from there." in note
    written.clear()
    assert MODELS["ALS"].clone().fit(train, checkpoint=path, resume=True, every=3).to_bytes() == uninterrupted(
        "ALS", False
    )


def test_ctrl_c_says_what_there_is_to_go_on_from(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    monkeypatch.setattr(f"{__name__}.StoppedError", KeyboardInterrupt)
    _Stops(monkeypatch, [1, 4])
    for holds in ("0 epochs of choosing", "1 epoch of training"):
        with pytest.raises(KeyboardInterrupt) as error:
            MODELS["softmax"].clone().fit(train, checkpoint=path, resume=True)
        assert error.value.__notes__ == [f"{path} holds {holds}; the same call with resume=True goes on from there."]


def test_a_checkpoint_is_written_after_every_so_many_epochs_and_the_last(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    epochs = []
    write = Checkpoint._write

    def note(self, stage, trainer, progress):
        write(self, stage, trainer, progress)
        epochs.append(progress.epochs)

    monkeypatch.setattr(Checkpoint, "_write", note)
    ancf.ALS(factors=4, epochs=5).fit(train, checkpoint=path, every=2)
    assert epochs == [0, 2, 4, 5]


def test_a_path_that_is_none_is_refused(tmp_path):
    with pytest.raises(ancf.InvalidParameterError, match="checkpoint is 7"), open_checkpoint(7, 1, False, None):
        pass
