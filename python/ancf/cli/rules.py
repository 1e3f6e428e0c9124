"""The table ``[rules]`` of the configuration file, for commands that make lists."""

from typing import TYPE_CHECKING

import click

from ancf.cli.command import RULES, Failure

if TYPE_CHECKING:
    from ancf.scoring.rules import Rules


def configured_rules() -> "Rules | None":
    """The rules of the file of the command that runs; None where it has none.

    Raises
    ------
    Failure
        If they make no sense; names the file; exit code 2.
    """
    found = click.get_current_context().meta.get(RULES)
    if found is None:
        return None
    from ancf.errors import InvalidCallError, InvalidParameterError
    from ancf.scoring.rules import Rules

    path, table = found
    try:
        return Rules(**table)
    except (InvalidCallError, InvalidParameterError) as error:
        raise Failure(f"{path}: [rules]: {error}", 2) from None
