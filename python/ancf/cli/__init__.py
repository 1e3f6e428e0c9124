"""The command line ``ancf``: every command is one call of the public API, and a page of help with an example.

Results go to stdout, progress and notes to stderr. A person's mistake is one line and an exit code: 2 usage, 3 data,
4 an unknown user or item, 5 a model file, 130 Ctrl-C; never a traceback.
"""

from ancf.cli.app import main, run

__all__ = ["main", "run"]
