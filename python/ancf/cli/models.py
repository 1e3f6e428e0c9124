"""Models on the command line: ``--model`` with the options of the one that is chosen, and model files."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ancf import models
from ancf.cli.command import HELP_NAMES, Command, Failure, Function, Option, configure, with_options
from ancf.cli.options import explicit_options, parameter_options
from ancf.errors import AncfError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ancf.models.base import Recommender

_DEFAULT = "ancf"
# What commands have options of their own for. A model takes over what --normalize says of the table.
_SKIPPED = ("verbose", "show_progress", "num_threads", "normalize")
_CHOSEN = "ancf.cli.chosen"


class _Chosen(NamedTuple):
    """The model of one call. Options are by the keyword of its constructor."""

    cli_name: str
    model: "type[Recommender]"
    options: dict[str, Option]
    others: list[Option]
    """Options of other models, which are not shown and lead to an error."""


class ModelName(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """The name of a model that can be trained."""

    name = "model"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        known, name = models.class_names(), str(value)
        if name in known:
            return name
        near = get_close_matches(name.lower(), known, 1, 0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise Failure(f"--model {name}: there is no such model. {hint}There are {', '.join(known)}.", 2)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in models.class_names() if name.startswith(incomplete)]


class ModelCommand(Command):
    """A command with ``--model``: it has the options of the chosen model, and refuses those of others by name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        chosen = self._choose(ctx, args)
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption:
            # It may be an option of a model in another package, which is only imported now.
            ctx.meta[_CHOSEN] = chosen._replace(others=self._options_of_others(chosen, every_model=True))
            return super().parse_args(ctx, args)

    def help_command(self, ctx: click.Context) -> str:
        name = ctx.meta[_CHOSEN].cli_name if _CHOSEN in ctx.meta else _DEFAULT
        return super().help_command(ctx) if name == _DEFAULT else f"{ctx.command_path} --model {name} --help"

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        chosen = ctx.meta.get(_CHOSEN)
        if chosen is None:
            return params
        at = params.index(self._model_option) + 1
        return [*params[:at], *chosen.options.values(), *chosen.others, *params[at:]]

    def keyword_options(self, ctx: click.Context) -> dict[str, click.Option]:
        chosen = ctx.meta.get(_CHOSEN)
        return super().keyword_options(ctx) | ({} if chosen is None else chosen.options)

    def config_keys(self, *, every_model: bool = False) -> dict[str, str]:
        keys = super().config_keys()
        for _, options in self._options_by_model(every_model):
            keys = {option.key: str(option.name) for option in options.values()} | keys
        return keys

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if _CHOSEN in ctx.meta:
            others = [name for name in models.class_names() if name != ctx.meta[_CHOSEN].cli_name]
            formatter.write_paragraph()
            formatter.write_text(
                f"Other models: {', '.join(others)}. '{ctx.command_path} --model {others[0]} --help' shows the "
                f"options of {others[0]}."
            )
        super().format_epilog(ctx, formatter)

    @property
    def _model_option(self) -> Option:
        return next(each for each in self.params if isinstance(each, Option) and each.name == "model")

    def _choose(self, ctx: click.Context, args: Sequence[str]) -> _Chosen:
        """Find out which model is meant before the other options are read, as it says which there are."""
        option, lenient = self._model_option, ctx.resilient_parsing
        before = args[: args.index("--")] if "--" in args else args
        try:
            configure(ctx, _typed_value(before, "--config"))
        except Failure:
            # Whoever asks for help may look for what is wrong in the file.
            if not (lenient or set(HELP_NAMES) & set(before)):
                raise
        typed = _typed_value(before, "--model")
        parsed: dict[str, Any] = {} if typed is None else {"model": typed}
        name, _ = option.consume_value(ctx, parsed)
        try:
            name = option.type.convert(name, option, ctx)
            model = models.class_of(models.class_names()[name])
        except (Failure, AncfError) as error:
            if not lenient:
                raise (error if isinstance(error, Failure) else self.failure(error, ctx)) from error
            name, model = _DEFAULT, models.class_of(models.class_names()[_DEFAULT])
        chosen = _Chosen(name, model, self._options_of(name, model), [])
        chosen = chosen._replace(others=self._options_of_others(chosen))
        ctx.meta[_CHOSEN] = chosen
        return chosen

    def _options_of(self, cli_name: str, model: "type[Recommender]") -> dict[str, Option]:
        """The options of a model's constructor, by keyword."""
        taken = {"help", *(each.name for each in self.params)}
        taken |= {spelling.lstrip("-") for each in self.params for spelling in each.opts}
        names = {keyword: f"model_{keyword}" for keyword in inspect.signature(model).parameters if keyword in taken}
        section = f"Options of {cli_name}"
        made = parameter_options(
            model.__init__,
            docs=model,
            section=section,
            skip=_SKIPPED,
            names=names | dict(models.all_models()[model.__name__].option_names),
            beside=self.params,
        )
        if cli_name == _DEFAULT:
            classic = Option(["--classic"], is_flag=True, section=section, help="The founding set-up, ANCF.classic().")
            made = {"classic": classic, **made}
        self.set_variables(made.values())
        return made

    def _options_by_model(self, every_model: bool) -> Iterator[tuple[str, dict[str, Option]]]:
        """The options of each model; of those in other packages if they are imported, or can be for ``every_model``."""
        entries = models.all_models()
        for cli_name, class_name in models.class_names().items():
            if every_model or class_name in models.MODELS or entries[class_name].module in sys.modules:
                try:
                    yield cli_name, self._options_of(cli_name, models.class_of(class_name))
                except AncfError:
                    continue

    def _options_of_others(self, chosen: _Chosen, *, every_model: bool = False) -> list[Option]:
        """Options that only other models have, each of which says so when somebody sets it."""
        own_keys = {each.key for each in chosen.options.values()}
        owners: dict[str, list[str]] = {}
        found: dict[str, Option] = {}
        for cli_name, options in self._options_by_model(every_model):
            for option in options.values():
                if option.key not in own_keys:
                    owners.setdefault(option.key, []).append(cli_name)
                    found.setdefault(option.key, option)
        for key, option in found.items():
            _make_refusing(
                option, f"--{key} is an option of the model {', '.join(owners[key])}, not of {chosen.cli_name}."
            )
        return list(found.values())


def _typed_value(args: Sequence[str], option: str) -> str | None:
    """What stands behind an option, found without knowing the others; the last one counts."""
    value = None
    for at, each in enumerate(args):
        if each == option and at + 1 < len(args):
            value = args[at + 1]
        elif each.startswith(f"{option}="):
            value = each.partition("=")[2]
    return value


def _make_refusing(option: Option, complaint: str) -> None:
    """Hide an option, and make it an error to set it."""

    def refuse(ctx: click.Context, option: click.Parameter, _: Any) -> None:
        source = ctx.get_parameter_source(str(option.name))
        if source is not click.core.ParameterSource.DEFAULT:
            raise Failure(f"{complaint} Leave it out, or choose another --model.", 2)

    option.hidden, option.expose_value, option.callback = True, False, refuse
    if not option.is_flag:
        option.type = click.UNPROCESSED


def model_option(function: Function) -> Function:
    """``--model``; the command has to be a ``ModelCommand``."""
    option = Option(
        ["--model"], type=ModelName(), default=_DEFAULT, section="Model", help=f"Which model is trained. [{_DEFAULT}]"
    )
    return with_options(function, [option])


def build_model(ctx: click.Context, *, verbose: int) -> "Recommender":
    """The unfitted model that the options describe.

    Raises
    ------
    InvalidParameterError
        If an option has a value that the model refuses already here.
    """
    chosen: _Chosen = ctx.meta[_CHOSEN]
    keywords = explicit_keywords(ctx)
    from_command = {"verbose": verbose, "num_threads": ctx.params.get("num_threads")}
    for keyword in inspect.signature(chosen.model).parameters:
        if from_command.get(keyword) is not None:
            keywords[keyword] = from_command[keyword]
    make: Any = chosen.model
    if chosen.cli_name == _DEFAULT and keywords.pop("classic", False):
        make = make.classic
    model: Recommender = make(**keywords)
    return model


def explicit_keywords(ctx: click.Context) -> dict[str, Any]:
    """The options of the chosen model that somebody set, by the keyword of its constructor."""
    options: dict[str, Option] = ctx.meta[_CHOSEN].options
    values = explicit_options(ctx, [str(option.name) for option in options.values()])
    return {keyword: values[str(option.name)] for keyword, option in options.items() if option.name in values}


def model_keys(ctx: click.Context) -> dict[str, str]:
    """The options of the chosen model: the parameter's name here → its spelling."""
    chosen: _Chosen = ctx.meta[_CHOSEN]
    return {str(each.name): f"--{each.key}" for each in chosen.options.values()}


def learns_in_epochs(ctx: click.Context) -> bool:
    """Whether the chosen model has epochs, among which a validation table chooses."""
    return "epochs" in inspect.signature(ctx.meta[_CHOSEN].model).parameters


def chosen_class(ctx: click.Context) -> "type[Recommender]":
    """The class of the chosen model."""
    model: type[Recommender] = ctx.meta[_CHOSEN].model
    return model


def chosen_name(ctx: click.Context) -> str:
    """What the chosen model is called on the command line."""
    name: str = ctx.meta[_CHOSEN].cli_name
    return name


class _ToStderr:
    """What a model prints while it learns goes to stderr, wherever that leads at the time."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()


@contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Keep stdout for results."""
    with redirect_stdout(_ToStderr()):
        yield


def load(path: str, num_threads: int | None = None) -> "Recommender":
    """A model from its file, or from stdin.

    Raises
    ------
    Failure
        If the file is not there or cannot be read; exit code 5.
    """
    import ancf

    with model_path(path) as place:
        model: Recommender = ancf.load(place)
    if num_threads is not None:
        model.num_threads = num_threads
    return model


@contextmanager
def model_path(path: str) -> Iterator[str]:
    """The path of a model file; what comes from stdin is a temporary file until it has been read."""
    import tempfile
    from pathlib import Path

    from ancf.errors import ModelFileError

    try:
        if path == "-":
            with tempfile.NamedTemporaryFile(suffix=".ancf") as file:
                while block := sys.stdin.buffer.read(1 << 20):
                    file.write(block)
                file.flush()
                yield file.name
        elif Path(path).is_dir():
            raise Failure(f"{path} is a folder. Give the path of a model file.", 5)
        else:
            yield path
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise Failure(f"{path}: there is no such model file. 'ancf train TABLE -o {path}' makes one.", 5) from None
    except PermissionError:
        raise Failure(f"{path}: you have no right to read this file.", 5) from None


def save(model: "Recommender", output: str) -> None:
    """Write a model file, or its bytes to stdout."""
    if output != "-":
        model.save(output)
        return
    sys.stdout.buffer.write(model.to_bytes())
    sys.stdout.buffer.flush()
