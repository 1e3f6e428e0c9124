"""``ancf inspect``: what a model file holds. Every byte of it is checked, and nothing in it is executed."""

from typing import Any

import click

from ancf.cli.command import command
from ancf.cli.models import model_path
from ancf.cli.output import cell_text, chosen_format, output_options, write_table


@command("inspect", examples=["ancf inspect shop.ancf", "ancf inspect shop.ancf --format json | jq .options"])
@click.argument("model_file", metavar="MODEL")
@output_options
def inspect(model_file: str, output_format: str | None, output: str) -> None:
    """What a model file holds, without trusting it.

    Every hash and number is checked, nothing in the file is executed, and control characters in it do not reach the
    terminal.
    """
    from ancf.model_file import inspect as inspect_file

    with model_path(model_file) as path:
        found = inspect_file(path)
    arrays = [
        [name, each["dtype"], "×".join(map(str, each["shape"])), each["bytes"]]
        for name, each in found["arrays"].items()
    ]
    columns = ["array", "type", "shape", "bytes"]
    if chosen_format(output_format, output) != "table":
        write_table(columns, arrays, output_format=output_format, output=output, document=found)
        return
    heading = [
        f"{model_file}: {found.get('class')} of ancf {found.get('version')}, {found['bytes']:,} bytes, all hashes right"
    ]
    for title, part in (("Options", found.get("options")), ("Settings", (found.get("history") or {}).get("settings"))):
        if part:
            heading += ["", f"{title}: " + ", ".join(f"{name}={value}" for name, value in sorted(part.items()))]
    heading += _training_summary(found.get("history") or {})
    write_table(columns, arrays, output_format="table", output=output, heading="\n".join([*map(_wrapped, heading), ""]))


def _training_summary(history: dict[str, Any]) -> list[str]:
    losses = history.get("training_loss") or []
    if not losses:
        return []
    # A value that was not finite is null in the file.
    text = f"Training: {len(losses)} epochs, training loss {cell_text(losses[0])} to {cell_text(losses[-1])}"
    if validation := history.get("validation_loss"):
        text += f", validation loss {cell_text(validation[0])} to {cell_text(validation[-1])}"
    return ["", f"{text}; the best epoch is {history.get('best_epoch')}"]


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 80, subsequent_indent="  ", break_on_hyphens=False)) if text else ""
