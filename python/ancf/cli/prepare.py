"""``ancf prepare``: a purchase table cleaned and coded once, in a folder that all commands take as their table."""

from pathlib import Path
from typing import Any

from ancf.cli.command import command, option
from ancf.cli.options import threads_option
from ancf.cli.output import print_note
from ancf.cli.tables import count_text, describe_reading, read_table, reading_options, table_argument
from ancf.data.array_folder import check_target


@command(
    "prepare",
    examples=[
        "ancf prepare sales/*.parquet -o prepared/",
        "ancf prepare purchases.csv -o prepared/ --anonymous group",
        "ancf train prepared/ -o shop.ancf",
    ],
)
@table_argument
@option("--output", "-o", required=True, metavar="FOLDER", section="Table", help="The folder to write.")
@reading_options
@threads_option
def prepare(table: tuple[str, ...], output: str, **options: Any) -> None:
    """Clean and code a purchase TABLE once, and write it to a folder.

    All commands take the folder as their table, with the same result as the files it came from: it is opened at once,
    and its events stay on the disk until they are needed. It keeps the account of every row (ancf describe FOLDER). A
    folder that was prepared before is replaced as a whole, or not at all.
    """
    folder = Path(output)
    check_target(folder)
    data = read_table(table, options, options["num_threads"])
    print_note(describe_reading(data))
    data.save(folder)
    n_bytes = sum(path.stat().st_size for path in folder.iterdir())
    print_note(f"{output}: {count_text(len(data), 'event')}, {n_bytes / 1e6:.1f} MB")
