"""The log: one JSON object to a line, on stderr. No id of a person stands in it, and no key."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

_unwanted: set[str] = set()


def quiet() -> None:
    """Say nothing of a server that begins and ends, for somebody who sits in front of it."""
    _unwanted.update(("serving", "ended"))


def write(event: str, **about: Any) -> None:
    """One line."""
    if event in _unwanted:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"time": now, "event": event, **about}, ensure_ascii=False, default=str)
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        # Nobody reads it any more; requests are answered all the same.
        return


class Handler(logging.Handler):
    """What libraries log, as lines of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            write_defect(record.exc_info[1], doing=record.getMessage().strip())
        else:
            write(record.name, message=record.getMessage())


def write_defect(error: BaseException, **about: Any) -> None:
    """What was not foreseen, with where it happened."""
    where = "".join(traceback.format_exception(error))
    write("defect", error=f"{type(error).__name__}: {error}", traceback=where, **about)
