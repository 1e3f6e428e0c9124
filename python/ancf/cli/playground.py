"""``ancf playground``: a shop in the browser, whose lists follow every click."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import logs_to_stderr, model_path
from ancf.cli.options import threads_option, typed_options
from ancf.cli.output import print_note
from ancf.cli.tables import describe_reading, read_table, reading_options

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.models.base import Recommender

_SHOP = "Shop"
_RUNNING = "Server"
_ATTENTION, _NEIGHBORS, _POPULAR = "attention", "item-kNN", "popular"


@command(
    "playground",
    examples=[
        "ancf playground",
        "ancf playground purchases.csv",
        "ancf playground purchases.csv --model shop.ancf",
        "ancf playground --model shop.ancf",
    ],
)
@click.argument("table", metavar="[TABLE...]", nargs=-1)
@option("--model", "model_file", metavar="FILE", section=_SHOP, help="A model file, in place of one trained here.")
@option(
    "--customers",
    type=click.IntRange(100),
    default=3000,
    metavar="N",
    section=_SHOP,
    help="Of the made-up shop. [3000]",
)
@option("--epochs", type=click.IntRange(1), default=10, metavar="N", section=_SHOP, help="Rounds of training. [10]")
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
@option("--no-browser", is_flag=True, section=_RUNNING, help="Only say where the page is; open no browser.")
@reading_options
@threads_option
@click.pass_context
def playground(
    ctx: click.Context, /, table: tuple[str, ...], model_file: str | None, customers: int, epochs: int, **options: Any
) -> None:
    """A shop in the browser: put things into the basket, and see the recommendations follow.

    Without a TABLE it is a made-up shop. An attention model, item-kNN and popularity are trained on the purchases and
    served side by side, so that you can switch between them. With --model and no TABLE, that model alone is served.
    What you buy there is forgotten when the command ends.
    """
    from ancf.serving import log
    from ancf.serving.server import check_extra, run
    from ancf.serving.settings import Settings

    check_extra()
    _check(ctx, table, model_file)
    with tempfile.TemporaryDirectory(prefix="ancf-playground-") as folder:
        place = Path(folder)
        if table or model_file is None:
            data = _read(table, customers, options)
            more = {
                _NEIGHBORS: _save(_trained(_NEIGHBORS, data, 0, options), place / "neighbors.ancf"),
                _POPULAR: _save(_trained(_POPULAR, data, 0, options), place / "popular.ancf"),
            }
            if model_file is None:
                model_file = _save(_trained(_ATTENTION, data, epochs, options), place / "attention.ancf")
                name = _ATTENTION
            else:
                name = Path(model_file).stem if _is_name(Path(model_file).stem, more) else "model"
        else:
            more, name = {}, "model"
        with model_path(model_file) as path:
            settings = Settings(
                model=path,
                name=name,
                more_models=more,
                journal=f"sqlite:///{place / 'events.db'}",
                host=options["host"],
                port=options["port"],
                keep_previous=False,
            )
            log.quiet()
            run(settings, on_serving=lambda url: _open(url, options["no_browser"]))


def _check(ctx: click.Context, table: tuple[str, ...], model_file: str | None) -> None:
    """Refuse options that would have no effect.

    Raises
    ------
    Failure
        Exit code 2.
    """
    if (table or model_file) and typed_options(ctx, ("customers",)):
        raise Failure("--customers is for the made-up shop. Leave it out, or leave the table and the model out.", 2)
    if model_file and typed_options(ctx, ("epochs",)):
        raise Failure("--epochs is for a model that is trained here. Leave it out, or leave --model out.", 2)
    if not table:
        names = [each.name for each in ctx.command.params if getattr(each, "section", "") == "Table" and each.name]
        if idle := typed_options(ctx, tuple(names)):
            raise Failure(f"--{idle[0].replace('_', '-')} is for a table. Name one, or leave it out.", 2)


def _read(table: tuple[str, ...], customers: int, options: dict[str, Any]) -> "Interactions":
    if table:
        data = read_table(table, options, options["num_threads"])
        print_note(describe_reading(data))
        return data
    import ancf
    from ancf.demo_shop import demo_shop

    data = ancf.read_interactions(demo_shop(customers=customers))
    print_note(f"A made-up shop of {data.n_users:,} customers and {data.n_items:,} products.")
    return data


def _trained(name: str, data: "Interactions", epochs: int, options: dict[str, Any]) -> "Recommender":
    import ancf

    threads = options["num_threads"]
    model: Recommender
    print_note(f"Training {name} ...")
    if name == _ATTENTION:
        model = ancf.ANCF(epochs=epochs, num_threads=threads)
    elif name == _NEIGHBORS:
        model = ancf.ItemKNN(num_threads=threads)
    else:
        model = ancf.Popular()
    with logs_to_stderr():
        model.fit(data)
    return model


def _save(model: "Recommender", path: Path) -> str:
    model.save(path)
    return str(path)


def _is_name(stem: str, taken: dict[str, str]) -> bool:
    return stem.isascii() and stem.isidentifier() and len(stem) <= 64 and stem not in taken


def _open(url: str, quiet: bool) -> None:
    click.echo(f"The playground is at {url}/ (Ctrl-C ends it)")
    if not quiet:
        import webbrowser

        webbrowser.open(url)
