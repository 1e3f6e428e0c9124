"""``ancf serve``: a model behind HTTP."""

from pathlib import Path
from typing import Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import model_path

_EVENTS = "Events"
_RUNNING = "Server"
_MODELS = "Several models"
_SHOP = "Shop"


def _by_name(given: tuple[str, ...], of: str, example: str) -> dict[str, str]:
    """NAME=VALUE, several times."""
    values: dict[str, str] = {}
    for each in given:
        name, _, value = each.partition("=")
        if not name or not value or name in values:
            raise Failure(f"--{of} {each}: give each name once, with something behind the =, such as {example}.", 2)
        values[name] = value
    return values


def _shares(given: tuple[str, ...]) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in _by_name(given, "share", "new=0.1").items()}
    except ValueError as error:
        raise Failure(f"--share: {error}. Give a number between 0 and 1, such as new=0.1.", 2) from None


def _event_weights(given: tuple[str, ...]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for each in given:
        event, _, number = each.partition("=")
        try:
            weights[event] = float(number)
        except ValueError:
            number = ""
        if not (event.isidentifier() and number):
            raise Failure(f"--event-weight {each}: give a type of event and a number, such as view=0.2.", 2)
    return weights


def _check_files(options: dict[str, Any], others: dict[str, str], shares: dict[str, float]) -> None:
    """Refuse files that are not there, each by its own option.

    Raises
    ------
    Failure
    """
    for name in ("rules", "stock", "api_key_file"):
        path = options[name]
        if path is not None and not Path(path).is_file():
            what = "is a folder" if Path(path).is_dir() else "there is no such file"
            raise Failure(f"--{name.replace('_', '-')} {path}: {what}. Check the path, or leave the option out.", 2)
    for name, path in others.items():
        if not Path(path).is_file():
            what = "is a folder" if Path(path).is_dir() else "there is no such model file"
            raise Failure(f"--also {name}={path}: {what}. 'ancf train TABLE -o FILE' makes one.", 5)
    for name in shares:
        if name not in others:
            there = f"There are {', '.join(others)}." if others else f"Name it first: --also {name}=FILE."
            raise Failure(f"--share {name}: no --also gives a model of that name. {there}", 2)


@command(
    "serve",
    examples=[
        "ancf serve shop.ancf",
        "ancf serve shop.ancf --port 9000 --workers 4 --api-key-file keys.toml",
        "ancf serve shop.ancf --journal postgresql://shop@db/shop",
        "ancf serve shop.ancf --also new=new.ancf --share new=0.1",
    ],
)
@click.argument("model_file", metavar="MODEL")
@option(
    "--host", metavar="ADDRESS", default="127.0.0.1", section=_RUNNING, help="The address to listen at. [127.0.0.1]"
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8000,
    section=_RUNNING,
    help="The port; 0 takes a free one. [8000]",
)
@option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    default=1,
    section=_RUNNING,
    help="Processes; each has its own copy of the model. [1]",
)
@option("--api-key-file", metavar="FILE", section=_RUNNING, help="A TOML file of keys; without one, anybody may ask.")
@option("--access-log", is_flag=True, section=_RUNNING, help="Log every request, without the ids in it.")
@option(
    "--journal",
    metavar="URL",
    section=_EVENTS,
    help="sqlite:///PATH or postgresql://...: where events are kept. [MODEL.events.db]",
)
@option(
    "--event-weight",
    multiple=True,
    metavar="TYPE=NUMBER",
    section=_EVENTS,
    help="What a type of event weighs in a history; again for more. [what the model's training table said; otherwise "
    "purchase=1, cart=0.3, view=0.1, return=-1]",
)
@option(
    "--update-every",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    section=_EVENTS,
    help="Let the models learn what the journal has beyond them, beside serving. [only when POST /v1/update asks]",
)
@option(
    "--rules",
    metavar="FILE",
    section=_SHOP,
    help="A TOML file whose table [rules] every list obeys, read again when it changes. [none]",
)
@option(
    "--stock",
    metavar="FILE",
    section=_SHOP,
    help="The ids of what is in stock, one a line, read again when it changes; nothing else is listed. [everything]",
)
@option(
    "--also",
    multiple=True,
    metavar="NAME=FILE",
    section=_MODELS,
    help="Another model, which requests name with model=NAME; again for more.",
)
@option(
    "--share",
    multiple=True,
    metavar="NAME=NUMBER",
    section=_MODELS,
    help="The part of the users who get the lists of that model, chosen by a hash of their ids. [0]",
)
def serve(
    model_file: str,
    event_weight: tuple[str, ...],
    journal: str | None,
    also: tuple[str, ...],
    share: tuple[str, ...],
    **options: Any,
) -> None:
    """Serve a model over HTTP, with every event counted at once.

    The page / of the server is a shop to try it in, and /docs has its routes. SIGTERM and Ctrl-C end it in order; a
    new MODEL file is taken while it runs. The log goes to stderr, one JSON object to a line.
    """
    from ancf.serving.server import check_extra, run
    from ancf.serving.settings import Settings, default_journal

    if model_file == "-":
        raise Failure("a server needs a model file that stays. Give its path.", 2)
    check_extra()
    others, shares = _by_name(also, "also", "new=new.ancf"), _shares(share)
    _check_files(options, others, shares)
    with model_path(model_file) as path:
        settings = Settings(
            model=path,
            journal=journal or default_journal(path),
            event_weights=_event_weights(event_weight),
            more_models=others,
            split=shares,
            **options,
        )
        code = run(settings)
    if code:
        raise Failure("a worker did not start; the log above says why.", code)
