"""Options come from the command line, else from ANCF_*, else from the file, else from the defaults."""

import pytest


@pytest.fixture
def length(rows, shop, tmp_path, monkeypatch):
    """How many items a list has, with what stands in the file and the environment."""
    import ancf as package

    user = str(package.load(shop / "shop.ancf").user_ids_.values[0])

    def call(*arguments, file=None, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if file is not None:
            (tmp_path / "ancf.toml").write_text(file)
            arguments = (*arguments, "--config", tmp_path / "ancf.toml")
        return len(rows("recommend", "shop.ancf", "--user", user, *arguments))

    return call


def test_the_default_is_the_last_resort(length):
    assert length() == 10


def test_the_file_goes_before_the_default(length):
    assert length(file="number = 3") == 3
    assert length(file="[recommend]\nnumber = 4") == 4
    assert length(file="number = 3\n[recommend]\nnumber = 4") == 4
    assert length(file="[recommend-all]\nnumber = 4") == 10


def test_the_environment_goes_before_the_file(length):
    assert length(file="number = 3", ANCF_NUMBER="5") == 5
    assert length(file="number = 3", ANCF_NUMBER="5", ANCF_RECOMMEND_NUMBER="6") == 6


def test_the_command_line_goes_before_everything(length):
    assert length("-n", 2, file="number = 3", ANCF_NUMBER="5") == 2


def test_the_file_may_be_named_before_the_command_or_in_the_environment(ancf, tmp_path, monkeypatch):
    (tmp_path / "ancf.toml").write_text("format = 'csv'")
    named_before = ancf("--config", tmp_path / "ancf.toml", "doctor")[1]
    assert named_before.startswith("what,value\n")
    monkeypatch.setenv("ANCF_CONFIG", str(tmp_path / "ancf.toml"))
    assert ancf("doctor")[1].startswith("what,value\n")


def test_options_of_the_model_come_from_the_file(ancf, tmp_path):
    import ancf as package

    (tmp_path / "ancf.toml").write_text(
        '[train]\nepochs = 1\nlearning-rate = 0.05\nitem_attention = false\ntemperature = "auto"\nquiet = true\n'
    )
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", "--config", tmp_path / "ancf.toml")
    assert code == 0, err
    options = package.load(tmp_path / "m.ancf").get_params()
    assert (options["epochs"], options["learning_rate"], options["item_attention"]) == (1, 0.05, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epoch = 3", "no command has an option 'epoch'; did you mean 'epochs'?"),
        ("[train]\nepoch = 3", "[train] has no option 'epoch'; did you mean 'epochs'?"),
        ("[trian]\nepochs = 3", "there is no command for the table [trian]; did you mean 'train'?"),
        ("[train]\nepochs = 2.5", "'2.5' is not 'auto' or a whole number"),
        ("[train]\nepochs = [[1]]", "epochs is [[1]]; give text, a number, true or false"),
        ("epochs == 3", "this is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_a_usage_error(ancf, tmp_path, content, said):
    (tmp_path / "ancf.toml").write_text(content)
    code, out, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", "--config", tmp_path / "ancf.toml")
    assert (code, out) == (2, "")
    assert said in err


def test_a_file_that_is_not_there_is_a_usage_error(ancf):
    code, _, err = ancf("--config", "missing.toml", "doctor")
    assert code == 2
    assert "missing.toml: No such file" in err
