"""The table ``[rules]`` of the configuration file, for commands that make lists."""

from typing import TYPE_CHECKING

import click

from ancf.cli.command import RULES, Failure
from ancf.cli.output import print_note

if TYPE_CHECKING:
    from ancf.models.base import Recommender
    from ancf.scoring.rules import Rules


def configured_rules(model: "Recommender") -> "Rules | None":
    """The rules of the file of the command that runs; None where it has none. A nightly job goes on, with a note, where
    a model knows nothing of what they deny.

    Raises
    ------
    Failure
        If they make no sense; names the file; exit code 2.
    """
    found = click.get_current_context().meta.get(RULES)
    if found is None:
        return None
    from ancf.errors import InvalidCallError, InvalidParameterError
    from ancf.scoring.arranging import forgive_deny
    from ancf.scoring.rules import Rules

    path, table = found
    try:
        rules, unknown = forgive_deny(Rules(**table), model.item_ids_)
        if unknown and not rules.deny:
            print_note(f"{path}: [rules]: deny: the model knows none of its {unknown:,} ids; nothing is denied.")
        return rules
    except (InvalidCallError, InvalidParameterError) as error:
        raise Failure(f"{path}: [rules]: {error}", 2) from None
