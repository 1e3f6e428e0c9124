"""Which model answers, and how another takes its place while requests go on.

Every worker looks at the model file every now and then. A new one is loaded in a thread, checked to the last byte,
asked a few questions, and put in place by one assignment; a damaged one changes nothing but ``failed``. So that there
is a way back, each model that answers has a hard link beside the file, which keeps it when the file is replaced by
another (not when it is overwritten). All workers are told by a note in the journal to go back, and go on with the next
new file.
"""

import glob
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ancf import model_file
from ancf.errors import AncfError, ModelFileError
from ancf.scoring.scorer import Scorer
from ancf.serving.counting import Counting
from ancf.serving.model_reading import ReadModel, read_model, version_of
from ancf.serving.served_model import ServedModel
from ancf.serving.shop_rules import NO_SHOP, Shop

NOTE = "model"
"""What the note to all workers is called; for other models than the first with their names behind it."""
FOLLOW_FILE = json.dumps({"avoid": None, "version": None})
"""The note that ends a way back."""


class WayBackError(AncfError):
    """There is no model to go back to."""


class _Seen(NamedTuple):
    """What says that a file is another one."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> "_Seen":
        found = path.stat()
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class ModelStore:
    """The model that answers (``current``), and the file that it comes from."""

    def __init__(
        self,
        path: str,
        on_change: Callable[[ServedModel], None] = lambda _: None,
        variant: str = "main",
        *,
        keeps: bool = True,
        shop: Shop = NO_SHOP,
        count: Callable[[Scorer], Counting] = Counting.of,
        read: Callable[[str | Path], ReadModel] = read_model,
    ) -> None:
        self._path, self._variant, self._keeps, self._shop = Path(path), variant, keeps, shop
        self._count = count
        self._on_change = on_change
        self._lock = threading.Lock()
        self._avoided: str | None = None
        self.failed: str | None = None
        """Why the file as it is now was not taken."""
        self.reloads = {"ok": 0, "failed": 0}
        self._seen: _Seen | None = _Seen.of(self._path)
        self.current = ServedModel.load(self._path, variant, count, read).for_shop(shop)
        self.previous = self._newest_kept()
        """The version that answered before the present one, if there is a way back."""
        self._keep()

    def look(self, note: str | None, *, again: bool = False) -> bool:
        """Take another model where the file, or what all workers are told, says so; whether there is another now.

        A file that could not be taken is not tried again, unless ``again`` says so.

        Raises
        ------
        ModelFileError
            If the file is another one and cannot be taken; the model stays.
        """
        with self._lock:
            told = {"avoid": None, "version": None} if note is None else json.loads(note)
            if again or told["avoid"] != self._avoided:
                self._seen, self._avoided = None, told["avoid"]
            try:
                if self.current.version == self._avoided:
                    self._take(self._link(str(told["version"])))
                    return True
                seen = _Seen.of(self._path)
                if seen == self._seen:
                    return False
                self._seen = seen
                version = version_of(self._path)
                if version in (self.current.version, self._avoided):
                    # Another file of the same name has the same header, but perhaps not what it promises.
                    model_file.read(self._path)
                    self.failed = None
                    return False
                self._take(self._path)
            except (AncfError, OSError) as error:
                if not isinstance(error, AncfError):
                    error = ModelFileError(f"{self._path}: {error.strerror}. Put a model file in its place.")
                self.reloads["failed"] += 1
                self.failed = str(error)
                raise error from None
            return True

    @property
    def path(self) -> str:
        """The path of the model file."""
        return str(self._path)

    def answers_from_file(self) -> bool:
        """Whether the model that answers is the one of the file."""
        try:
            return version_of(self._path) == self.current.version
        except (OSError, ModelFileError):
            return False

    def obey(self, shop: Shop) -> None:
        """Answer by other rules and another stock from now on.

        Raises
        ------
        InvalidDataError, InvalidParameterError
            If they do not fit the model; it goes on as before.
        """
        with self._lock:
            self.current = self.current.for_shop(shop)
            self._shop = shop

    def way_back(self) -> str:
        """The note that tells all workers to go back to the previous model.

        Raises
        ------
        WayBackError
            If there is none, or its file was overwritten.
        """
        with self._lock:
            if self.previous is None:
                raise WayBackError(
                    "no earlier model is known: this one was there when the server started, or no link could be made "
                    "beside it. Put the earlier file in its place."
                )
            link = self._link(self.previous)
            try:
                intact = version_of(link) == self.previous
            except (OSError, ModelFileError):
                intact = False
            if not intact:
                raise WayBackError(
                    f"the earlier model {self.previous} is gone, or was overwritten rather than replaced. Put its file "
                    "in place again."
                )
            return json.dumps({"avoid": self.current.version, "version": self.previous})

    def _take(self, path: Path) -> None:
        served = ServedModel.load(path, self._variant, self._count).for_shop(self._shop)
        served.prepare()
        before, self.current = self.current.version, served
        self.failed = None
        self.reloads["ok"] += 1
        self._keep()
        self.previous = before if self._link(before).exists() else None
        self._forget_older()
        self._on_change(served)

    def _link(self, version: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{version}.kept")

    def _kept(self) -> list[Path]:
        return list(self._path.parent.glob(f"{glob.escape(self._path.name)}.*.kept"))

    def _newest_kept(self) -> str | None:
        """What a server that ran before this one could go back to."""
        others = [each for each in self._kept() if each != self._link(self.current.version)]
        if not others:
            return None
        newest = max(others, key=lambda each: each.stat().st_mtime_ns)
        return newest.name.removeprefix(f"{self._path.name}.").removesuffix(".kept")

    def _keep(self) -> None:
        """A link to the present model, so that it can be gone back to; where none can be made there is no way back."""
        link = self._link(self.current.version)
        try:
            if self._keeps and not link.exists():
                os.link(self._path, link)
                if version_of(link) != self.current.version:
                    link.unlink()
        except (OSError, ModelFileError):
            pass

    def _forget_older(self) -> None:
        kept = {self._link(each) for each in (self.current.version, self.previous) if each}
        for other in self._kept():
            if other not in kept:
                other.unlink(missing_ok=True)
