"""What the command line says of times, and that the options that it names help."""

import pytest


@pytest.fixture
def table(tmp_path):
    def write(heading, values, *more):
        rows = "\n".join(",".join((f"u{at % 3}", f"i{at % 4}", value)) for at, value in enumerate(values))
        path = tmp_path / "table.csv"
        path.write_text(f"user,item,{heading}\n{rows}\n")
        return path

    return write


def test_a_clock_alone_is_refused_and_the_options_named_help(ancf, table):
    path = table("on,time", [f"2011-12-0{day},08:3{day}" for day in range(1, 9)])
    code, _, err = ancf("describe", path)
    assert code == 3
    assert '"08:31" in row 2 is a clock time without a date' in err
    assert '--time-column "date,time"' in err
    assert "--time-column none" in err
    assert ancf("describe", path, "--time-column", "none")[0] == 0
    code, out, _ = ancf("describe", path, "--time-column", "on,time")
    assert code == 0
    assert "2011-12-01 08:31" in out


@pytest.mark.parametrize(
    ("values", "said", "option", "first"),
    [
        (["1", "300", "711"], "--time-unit days", ["--time-unit", "days"], "1970-01-02"),
        (["01/02/2011", "03/04/2011"], "--day-first", ["--day-first"], "2011-02-01"),
        (["1122011", "9122011"], "--time-format %d%m%Y", ["--time-format", "%d%m%Y"], "2011-12-01"),
    ],
)
def test_what_cannot_be_told_is_said_with_an_option_that_helps(ancf, table, tmp_path, values, said, option, first):
    path = table("date", values)
    model = tmp_path / "m.ancf"
    code, _, err = ancf("train", path, "-o", model, "--model", "popular")
    assert code == 0
    assert said in err
    code, out, _ = ancf("describe", path, *option)
    assert code == 0
    assert first in out


def test_an_option_without_effect_is_refused_in_the_words_of_the_command_line(ancf, table):
    path = table("date", ["2011-12-01", "2011-12-09"])
    for option in (["--time-unit", "ms"], ["--day-first"], ["--time-format", "%d.%m.%Y"]):
        code, _, err = ancf("describe", path, *option)
        assert code == 2
        assert option[0] in err
    code, _, err = ancf("describe", path, "--time-unit", "hours")
    assert code == 2
    assert "'hours' is not" in err
