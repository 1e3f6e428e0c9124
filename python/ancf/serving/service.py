"""What the routes of a worker share: the model, the journal, the keys and the numbers. Knows nothing of HTTP."""

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ancf.errors import AncfError
from ancf.serving import log
from ancf.serving.journal import Entry, Event, Journal
from ancf.serving.keys import Keys, read_keys
from ancf.serving.metrics import Metrics
from ancf.serving.model_store import FOLLOW_FILE, NOTE, ModelStore, WayBackError
from ancf.serving.problems import busy
from ancf.serving.served_model import ServedModel
from ancf.serving.settings import Settings
from ancf.serving.writer import Writer, open_journal

Result = TypeVar("Result")
_READERS = 8


class Service:
    """One worker's state. ``start`` belongs into the running event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.limits = settings, settings.limits
        self.keys: Keys | None = None if settings.api_key_file is None else read_keys(settings.api_key_file)
        self.in_flight = 0
        """Requests whose headers have come and whose answer has not gone."""
        self.draining = False
        self.writer = Writer(settings.journal)
        self.metrics = Metrics(lambda: self.in_flight, lambda: self.writer.waiting)
        self._journal: Journal = open_journal(settings.journal)
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
        self.store = ModelStore(settings.model, self._on_model)
        self._on_model(self.store.current)
        self._watching: asyncio.Task[None] | None = None

    @property
    def model(self) -> ServedModel:
        """The model that answers; to be taken once for each request."""
        return self.store.current

    def _on_model(self, served: ServedModel) -> None:
        self.metrics.model(served)
        # The collector would go through the ids and names of a model again and again: twice the time of a list.
        gc.freeze()

    async def start(self) -> None:
        """Begin to write and to watch the model file."""
        self.writer.start()
        await self._look()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Write what waits."""
        self.draining = True
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self.writer.stop)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._journal.close()

    # ---- events

    async def entries(self, user_id: str) -> list[Entry]:
        """What the journal has of a user; everything that was acknowledged before is in it."""
        if not self._journal.reads_block:
            return self._journal.of_user(user_id, self.limits.events_per_user)
        return await self.in_thread(lambda: self._own_journal().of_user(user_id, self.limits.events_per_user))

    def entries_of(self, user_ids: Sequence[str]) -> list[list[Entry]]:
        """The same for several users, in a thread."""
        journal = self._own_journal()
        return [journal.of_user(each, self.limits.events_per_user) for each in user_ids]

    async def append(self, events: Sequence[Event]) -> int:
        """Make events durable; the number of those that were new."""
        if self.writer.waiting + len(events) > self.limits.waiting_events:
            raise busy("Too many events wait to be written.", self.limits.retry_after)
        return await self._within_deadline(self.writer.append(events))

    async def forget(self, user_id: str) -> int:
        """Erase a user's events, durably; their number."""
        return await self._within_deadline(self.writer.forget(user_id, int(time.time())))

    async def in_thread(self, ask: Callable[[], Result]) -> Result:
        """What may take longer than a few hundred microseconds, without holding up others."""
        return await self._within_deadline(asyncio.get_running_loop().run_in_executor(self._threads, ask))

    async def _within_deadline(self, waiting: "asyncio.Future[Result]") -> Result:
        try:
            # What is being written goes on being written; whoever asked may send it again.
            async with asyncio.timeout(self.limits.handling_deadline):
                return await asyncio.shield(waiting)
        except TimeoutError:
            raise busy(
                f"There was no answer within {self.limits.handling_deadline:g} seconds.", self.limits.retry_after
            ) from None

    def _own_journal(self) -> Journal:
        """A connection of this thread."""
        journal: Journal | None = getattr(self._local, "journal", None)
        if journal is None:
            journal = self._local.journal = open_journal(self.settings.journal)
        return journal

    # ---- models

    async def reload(self, to: str) -> bool:
        """Take the model file as it is now, or go back to the model before; whether there is another now."""

        def change() -> bool:
            journal = self._own_journal()
            if to == "previous":
                note = self.store.way_back()
                journal.write_note(NOTE, note)
                return self.store.look(note)
            if journal.read_note(NOTE) not in (None, FOLLOW_FILE):
                journal.write_note(NOTE, FOLLOW_FILE)
            return self.store.look(FOLLOW_FILE, again=True)

        # A large model takes longer to load than other requests may.
        return await self._looking(change)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.watch_interval)
            await self._look()

    async def _look(self) -> None:
        """What failed is in the log, in the metrics and in ``GET /v1/model``; the model that answers stays."""
        try:
            await self._looking(lambda: self.store.look(self._own_journal().read_note(NOTE)))
        except AncfError:
            return
        except Exception as error:
            log.write_defect(error, doing="looking at the model file")

    async def _looking(self, look: Callable[[], bool]) -> bool:
        before = self.model.version
        try:
            changed = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        except WayBackError:
            raise
        except AncfError as error:
            if str(error) == self.store.failed:
                self.metrics.reload("failed")
            log.write("model not taken", error=str(error), model_version=before)
            raise
        if changed:
            self.metrics.reload("ok")
            log.write("model taken", model_version=self.model.version, previous_version=before)
        return changed

    def about(self) -> dict[str, Any]:
        """What the log says when a worker begins."""
        scorer = self.model.scorer
        return {
            "model": scorer.model,
            "model_version": self.model.version,
            "users": len(scorer.user_ids),
            "items": len(scorer.item_ids),
            "event_weights": json.dumps(dict(self.settings.event_weights)),
        }
