"""Messages of the API reach whoever typed a command in the spelling of the command line."""

import ast
import re
from pathlib import Path

import click
import pytest

import ancf as package
from ancf import models
from ancf.cli.app import COMMANDS, main_group

SOURCES = Path(package.__file__).parent
KEYWORD = re.compile(r"(?<![-\w.])([A-Za-z_]+)=(?!=)")

# (module, keyword): why no command line gets to see it.
NOT_REACHABLE = {
    ("ray", "runtime_env"): "no command runs on a cluster",
    ("comparison.comparing", "refit"): "commands hand over nothing that is fitted",
    ("comparison.comparing", "own_process"): "the command gives each model a process",
    ("data.array_tables", "layout"): "matrices are in memory",
    ("data.columns", "layout"): "matrices are in memory",
    ("data.feature_reading", "id"): "a renamed heading needs no option",
    ("data.feature_reading", "kinds"): "commands take columns as they are recognized",
    ("data.features", "kinds"): "commands take columns as they are recognized",
    ("data.feature_account", "id"): "a renamed heading needs no option",
    ("data.feature_account", "of"): "commands say whose attributes they are",
    ("data.ids", "start"): "no command looks for a position",
    ("data.ids", "stop"): "no command looks for a position",
    ("data.normalize", "shift"): "how a normalizer prints itself",
    ("data.normalize", "scale"): "how a normalizer prints itself",
    ("data.text_times", "P"): "a pattern",
    ("data.frame_reading", "layout"): "matrices are in memory",
    ("data.reading", "layout"): "matrices are in memory",
    ("data.reading", "index_col"): "of pandas, for matrices in memory",
    ("scoring.histories", "weights"): "a typed history has no mapping",
    ("data.split", "at"): "commands split by shares",
    ("data.split", "fractions"): "commands take a share, which they check",
    ("data.split", "on_leak"): "commands only warn",
    ("evaluation.beyond", "interactions"): "no command makes a model of factors",
    ("evaluation.similar", "train"): "no command measures what is bought next",
    ("evaluation.slices", "bins"): "commands leave it out",
    ("evaluation.slices", "of"): "commands choose it",
    ("models", "cli_name"): "for whoever registers a model",
    ("models.base", "user"): "for whoever calls fit",
    ("models.base", "item"): "for whoever calls fit",
    ("models.factors", "_ids"): "no command makes a model of factors",
    ("models.network", "loss"): "no command builds ANCFModel",
    ("models.network", "attention"): "no command builds ANCFModel",
    ("models.network", "item_attention"): "no command builds ANCFModel",
    ("models.network", "history"): "no command builds ANCFModel",
    ("models.network", "_ids"): "no command builds ANCFModel",
    ("scoring.export", "dense_only"): "no command exports vectors",
    ("serving.client_methods", "url"): "no command asks a server",
    ("scoring.scorer", "interactions"): "no command makes a model of factors",
}


def said_by_reports(tree):
    """Every text of a module that is no docstring: what a report says of a table is put together in many ways."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    joined = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(getattr(each, "value", "1")) for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | joined:
            yield node.value


def messages():
    """(module, text) of everything that is raised, warned of, added as a note, or stands in a report."""
    for path in sorted(SOURCES.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
        if module.partition(".")[0] in ("cli", "testing"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if module.startswith("data."):
            yield from ((module, text) for text in said_by_reports(tree))
            continue
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Raise) or getattr(called, "attr", "") in ("warn", "add_note"):
                for part in ast.walk(node):
                    if isinstance(part, ast.JoinedStr):
                        yield module, "".join(str(getattr(each, "value", "1")) for each in part.values)
                    elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield module, part.value


def contexts(model=None):
    with main_group.make_context("ancf", []) as root:
        for name in COMMANDS:
            command = main_group.get_command(root, name)
            arguments = ["--help"] if model is None else ["--model", model, "--help"]
            ctx = click.Context(command, info_name=name, parent=root, resilient_parsing=True)
            if hasattr(command, "_choose"):
                command._choose(ctx, arguments)
            yield ctx


def test_every_keyword_in_a_message_is_an_option_of_some_command_or_not_reachable():
    known = {keyword for ctx in contexts() for keyword in ctx.command.keyword_options(ctx)}
    found = {(module, match[1]) for module, text in messages() for match in KEYWORD.finditer(text)}
    assert len(found) > 20
    lost = {each for each in found if each[1] not in known} - NOT_REACHABLE.keys()
    assert not lost, "give translate_keywords the option of these, or say in NOT_REACHABLE why nobody sees them"
    assert NOT_REACHABLE.keys() <= found


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        (
            "train",
            "Name another with time=, or read without: time=False.",
            "--time-column, or read without: --time-column none.",
        ),
        ("train", "a header line needs header=False and user=0", "--no-header and --user-column 0"),
        ("train", 'Take normalize="minmax", or output="linear".', "Take --normalize minmax, or --output-layer linear."),
        ("train", "or use_weights=False.", "or --no-use-weights."),
        ("train", "Use random_split, or name time=.", "Use --split random, or name --time-column."),
        ("evaluate", "or choose filter_already_liked_items=False.", "or choose --repeats."),
        ("evaluate", "leaks. (on_leak='ignore' silences this.)", "leaks."),
        ("recommend", "or choose filter_already_liked_items=False.", "or choose --with-bought."),
        ("recommend", 'Use recommend_all(N, out="recs.parquet") to', "Use ancf recommend-all -o recs.parquet to"),
        ("recommend", 'choose on_unknown="popular" or "skip".', "choose --on-unknown popular or skip."),
        ("recommend-all", "call again with resume=True to go on.", "call again with --resume to go on."),
        ("recommend-all", "or choose another out=.", "or choose another --output."),
    ],
)
def test_keywords_are_spelled_as_options(command, message, expected):
    [ctx] = [each for each in contexts() if each.info_name == command]
    said = ctx.command.translate_keywords(message, ctx)
    assert said.endswith(expected)
    assert not KEYWORD.search(said)


@pytest.mark.parametrize("model", models.class_names())
def test_help_pages_name_options_as_they_are_typed(model):
    wrong = []
    for ctx in contexts(model):
        options = ctx.command.keyword_options(ctx)
        for option in ctx.command.get_params(ctx):
            said = getattr(option, "help", None) or ""
            words = {each for each in re.findall(r"(?<![-\w.])[a-z]+(?:_[a-z]+)+\b", said) if each in options}
            keywords = {each for each in KEYWORD.findall(said) if each in options}
            if words or keywords or re.search(r"\bNone\b", said):
                wrong.append((ctx.info_name, option.name, said))
    assert not wrong


# What a report says of these is a remedy, which the command line gives as options.
NOTED = {
    "words": "user,item\nann,tea\nNA,tea\n",
    "unseen": "user,item\ncaf\u00e9,tea\ncafe\u0301,tea\n",
    "ratings": "user,item,rating\nann,tea,1\nann,cup,5\n",
    "days": "user,item,day\nann,tea,01/02/2011\nann,cup,03/04/2011\n",
    "hours": "user,item,time\nann,tea,2011120113\nann,cup,2011120214\n",
    "units": "user,item,time\nann,tea,1323388800\nann,cup,1323388800000\n",
    "small": "user,item,time\nann,tea,14975\nann,cup,14979\n",
    "mixed": "user,item,time\nann,tea,0\nann,cup,1323388800\nbob,cup,1323388801\n",
    "hashes": "# shop\nuser,item\n#1,tea\nann,tea\n",
    "title": "The shop\n\nuser,item\nann,tea\nann,cup\n",
    "repeated": "user,item\nann,tea\nuser,item\nann,cup\n",
    "twice": "user,item,item\nann,tea,tea\nann,cup,cup\n",
}


@pytest.mark.parametrize("name", NOTED)
def test_what_a_report_notes_is_spelled_as_options(name, tmp_path, ancf):
    table = tmp_path / "table.csv"
    table.write_text(NOTED[name], encoding="utf-8")
    _, said, _ = ancf("describe", table)
    assert "noted:" in said or "left out:" in said
    assert not KEYWORD.search(said), said
    assert "True" not in said
    assert "()" not in said


def test_the_option_that_a_report_names_for_a_word_takes_it_as_an_id(tmp_path, ancf):
    table = tmp_path / "table.csv"
    table.write_text(NOTED["words"], encoding="utf-8")
    assert "--missing '' takes it as an id" in " ".join(ancf("describe", table)[1].split())
    assert "2 rows read, 2 used" in ancf("describe", table, "--missing", "")[1]


def test_no_message_ends_in_two_full_stops():
    assert not [text for _, text in messages() if re.search(r"(?<![\d.])\.\.(?=\s|$)", text)]
