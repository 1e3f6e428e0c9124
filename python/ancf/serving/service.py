"""What the routes of a worker share: the model, the journal, the keys and the numbers. Knows nothing of HTTP."""

import asyncio
import contextlib
import gc
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ancf.errors import AncfError, InvalidParameterError
from ancf.serving import log, memory
from ancf.serving.admission import Admission
from ancf.serving.counting import Counting
from ancf.serving.journal import Entry, Event, Journal, Row
from ancf.serving.keys import Keys, read_keys
from ancf.serving.metrics import Metrics
from ancf.serving.model_reading import ReadModel, read_model
from ancf.serving.model_store import FOLLOW_FILE, NOTE, ModelStore, WayBackError
from ancf.serving.problems import Problem, busy
from ancf.serving.served_model import ServedModel
from ancf.serving.settings import Settings
from ancf.serving.shop_rules import ShopFiles
from ancf.serving.tracing import recorder
from ancf.serving.update_job import Job, Outcome, check_updatable, note_of
from ancf.serving.updater import Updater, UpdateRefusedError, UpdateRunningError, outcome_of
from ancf.serving.writer import Writer, open_journal

Result = TypeVar("Result")
_READERS = 8


class Rate:
    """So many a second, after a burst of as many, or of one whole request."""

    def __init__(self, per_second: int, request: int) -> None:
        self._per_second, self._most = per_second, float(max(per_second, request))
        self._left, self._at = self._most, time.monotonic()

    def takes(self, n: int) -> bool:
        """Whether there is room for ``n`` now, which is then taken."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if n > self._left:
            return False
        self._left -= n
        return True


class Service:
    """One worker's state. ``start`` belongs into the running event loop."""

    def __init__(self, settings: Settings, read: Callable[[str | Path], ReadModel] = read_model) -> None:
        """``read`` has the models of the files, as they are at the start."""
        self.settings, self.limits = settings, settings.limits
        self.keys: Keys | None = None if settings.api_key_file is None else read_keys(settings.api_key_file)
        self.admission = Admission(self.limits)
        self._at_once = 0
        self.record = recorder()
        """Makes a span of a request; None without OpenTelemetry."""
        self._event_rate = Rate(self.limits.events_per_second, self.limits.events)
        self.draining = False
        self.writer = Writer(settings.journal)
        self.metrics = Metrics(self.admission, lambda: self.writer.waiting)
        self._journal: Journal = open_journal(settings.journal)
        self._journal_name = self._journal.name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
        self._files = ShopFiles(settings.rules, settings.stock)
        shop = self._files.read()
        count = partial(Counting.of, chosen=settings.event_weights, journal=self._journal_name)
        paths = {settings.name: settings.model, **settings.more_models}
        self.stores = {
            name: ModelStore(
                path, self._on_model, name, keeps=settings.keep_previous, shop=shop, count=count, read=read
            )
            for name, path in paths.items()
        }
        """The models by name, the first one first."""
        self._first = self.stores[settings.name]
        for store in self.stores.values():
            self._on_model(store.current)
        if settings.update_every is not None:
            for store in self.stores.values():
                check_updatable(store.current.model)
        self._updater = Updater(settings.update_every)
        self._watching: asyncio.Task[None] | None = None

    def model(self, name: str | None = None, user_id: str | None = None) -> ServedModel:
        """The model of that name, or the one whose lists this user gets; to be taken once for each list.

        Raises
        ------
        InvalidParameterError
            If no model has that name.
        """
        if name is not None:
            return self.store(name).current
        if user_id is not None and self.settings.split:
            return self.stores[self._variant_of(user_id)].current
        return self._first.current

    def event_types(self) -> dict[str, float]:
        """The types of events that some model knows, and what they weigh to the first that does."""
        found: dict[str, float] = {}
        for store in self.stores.values():
            found = {**store.current.counting.weights.to_dict(), **found}
        return found

    def knows_event(self, name: str) -> bool:
        """Whether events of this type count for some model."""
        return any(store.current.counting.weights.get(name) is not None for store in self.stores.values())

    def store(self, name: str | None) -> ModelStore:
        """Where the model of that name is kept, or the first one.

        Raises
        ------
        InvalidParameterError
            If no model has that name.
        """
        store = self._first if name is None else self.stores.get(name)
        if store is None:
            raise InvalidParameterError(
                f"model={name!r}: there is no such model here. There are {', '.join(self.stores)}."
            )
        return store

    def _variant_of(self, user_id: str) -> str:
        """Always the same for a user, whatever worker is asked."""
        hashed = hashlib.blake2b(user_id.encode(), digest_size=8, person=b"ancf split").digest()
        place = int.from_bytes(hashed, "big") / 2**64
        for name, share in self.settings.split.items():
            place -= share
            if place < 0:
                return name
        return self.settings.name

    def _on_model(self, served: ServedModel) -> None:
        self.metrics.model(served)
        for each in served.warnings:
            log.write("warning", variant=served.variant, message=each)
        # The collector would go through the ids and names of a model again and again: twice the time of a list.
        gc.freeze()

    async def start(self) -> None:
        """Begin to write and to watch the model file."""
        self._loop = asyncio.get_running_loop()
        self.writer.start()
        await self._look()
        self._watching = asyncio.create_task(self._watch())
        for store in self.stores.values():
            # Beside serving, as it may take longer than all else of a start.
            self._threads.submit(store.current.prepare)

    async def stop(self) -> None:
        """Write what waits."""
        self.draining = True
        if self._watching is not None:
            self._watching.cancel()
        self._updater.stop()
        await asyncio.get_running_loop().run_in_executor(None, self.writer.stop)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._journal.close()

    # ---- events

    @property
    def reads_block(self) -> bool:
        """Whether reading the journal may wait for another machine."""
        return self._journal.reads_block

    def entries_now(self, user_id: str) -> list[Entry]:
        """What the journal has of a user, where reading does not wait."""
        return self._journal.of_user(user_id, self.limits.events_per_user)

    def rows_now(self, user_id: str) -> list[Row]:
        """The newest events of a user, newest first, where reading does not wait."""
        return self._journal.newest_rows(user_id, self.limits.events_per_user)

    def in_order(self, user_id: str, rows: list[Row]) -> list[Entry]:
        """The same as ``entries_now`` gives it."""
        return self._journal.in_order(user_id, rows, self.limits.events_per_user)

    def count_now(self) -> None:
        """A request that is answered at once counts as in flight until all that came with it are answered."""
        self.admission.in_flight += 1
        self.admission.waiting += 1
        if not self._at_once:
            asyncio.get_running_loop().call_soon(self._end_round)
        self._at_once += 1

    def _end_round(self) -> None:
        self.admission.in_flight -= self._at_once
        self.admission.waiting -= self._at_once
        self._at_once = 0

    async def entries(self, user_id: str) -> list[Entry]:
        """What the journal has of a user; everything that was acknowledged before is in it."""
        if not self.reads_block:
            return self.entries_now(user_id)
        return await self.in_thread(lambda: self._own_journal().of_user(user_id, self.limits.events_per_user))

    def entries_of(self, user_ids: Sequence[str]) -> list[list[Entry]]:
        """The same for several users, in a thread."""
        journal = self._own_journal()
        return [journal.of_user(each, self.limits.events_per_user) for each in user_ids]

    async def append(self, events: Sequence[Event]) -> int:
        """Make events durable; the number of those that were new."""
        if self.writer.waiting + len(events) > self.limits.waiting_events:
            raise busy("Too many events wait to be written.", self.limits.retry_after)
        if not self._event_rate.takes(len(events)):
            raise busy("Too many events come in a second.", self.limits.retry_after)
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

    async def reload(self, to: str, name: str | None = None) -> bool:
        """Take the model file as it is now, or go back to the model before; whether there is another now."""
        store = self.store(name)
        told = self._note_of(store)

        def change() -> bool:
            journal = self._own_journal()
            if to == "previous":
                note = store.way_back()
                journal.write_note(told, note)
                return store.look(note)
            if journal.read_note(told) not in (None, FOLLOW_FILE):
                journal.write_note(told, FOLLOW_FILE)
            return store.look(FOLLOW_FILE, again=True)

        # A large model takes longer to load than other requests may.
        return await self._looking(store, change)

    # ---- updates

    async def update(self, name: str | None = None) -> Outcome:
        """Begin to update a model from the journal, in a process of its own.

        Raises
        ------
        UpdateRefusedError
            If an update is going on, or the model that answers is not the one of the file.
        InvalidCallError, InvalidDataError
            If the model cannot be updated.
        """
        store = self.store(name)
        await self.in_thread(lambda: self._start_update(store))
        return await self.last_update(store) or Outcome("running", time.time())

    async def last_update(self, store: ModelStore) -> Outcome | None:
        """How the last update of a model stands, whoever started it; None where there was none, or while the journal
        cannot be read."""
        variant = store.current.variant
        with contextlib.suppress(AncfError, Problem):
            return await self.in_thread(lambda: outcome_of(store.path, variant, self._own_journal()))
        return None

    async def newest_event(self) -> int | None:
        """The number of the last event in the journal; None while it cannot be read."""
        with contextlib.suppress(AncfError, Problem):
            return await self.in_thread(lambda: self._own_journal().newest())
        return None

    @property
    def journal_name(self) -> str:
        """What tells the journal from others."""
        return self._journal_name

    async def _update_if_due(self, name: str) -> None:
        store = self.stores[name]

        def start() -> bool:
            due = self._updater.is_due(name, self._own_journal())
            return due and self._start_update(store, if_due=True)

        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, start)
        except UpdateRunningError:
            return
        except (AncfError, OSError) as error:
            log.write("model not updated", variant=name, error=str(error))
            failed = Outcome("failed", time.time(), time.time(), error=str(error)).written()
            with contextlib.suppress(AncfError, Problem):
                await self.in_thread(lambda: self._own_journal().write_note(note_of(name), failed))

    def _start_update(self, store: ModelStore, *, if_due: bool = False) -> bool:
        served = store.current
        check_updatable(served.model)
        if not store.answers_from_file():
            raise UpdateRefusedError(
                f"{store.path} is not the model that answers ({served.version}): the server went back to an earlier "
                'one, or has not taken the file. POST {"to": "file"} to /v1/reload first.'
            )
        job = Job(store.path, served.version, served.variant, self.settings.journal, dict(self.settings.event_weights))
        loop = self._loop

        def ended(well: bool) -> None:
            self.metrics.update_ended("ok" if well else "failed", served.variant)
            if well and loop is not None and not loop.is_closed() and not self.draining:
                asyncio.run_coroutine_threadsafe(self._look(), loop)

        return self._updater.start(job, self._own_journal(), ended, if_due=if_due)

    def _note_of(self, store: ModelStore) -> str:
        return NOTE if store is self._first else f"{NOTE} {store.current.variant}"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.watch_interval)
            await self._look()
            if self.settings.update_every is not None:
                for name in self.stores:
                    await self._update_if_due(name)

    async def _look(self) -> None:
        """What failed is in the log, in the metrics and in ``GET /v1/model``; the model that answers stays."""
        if self._files.changed():
            await asyncio.get_running_loop().run_in_executor(self._threads, self._obey_files)
        for store in self.stores.values():
            note = self._note_of(store)
            try:
                await self._looking(store, lambda s=store, n=note: s.look(self._own_journal().read_note(n)))  # type: ignore[misc]
            except AncfError:
                continue
            except Exception as error:
                log.write_defect(error, doing="looking at the model file")

    def _obey_files(self) -> None:
        """Other rules and another stock, in all models or in none."""
        try:
            shop = self._files.read()
            for store in self.stores.values():
                store.current.for_shop(shop)
            for store in self.stores.values():
                store.obey(shop)
                self._on_model(store.current)
        except (AncfError, OSError) as error:
            log.write("rules and stock not taken", error=str(error))
            return
        log.write("rules and stock taken", in_stock=None if shop.stock is None else len(shop.stock))

    async def _looking(self, store: ModelStore, look: Callable[[], bool]) -> bool:
        before = store.current.version
        try:
            changed = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        except WayBackError:
            raise
        except AncfError as error:
            if str(error) == store.failed:
                self.metrics.reload("failed")
            log.write("model not taken", error=str(error), model_version=before)
            raise
        if changed:
            # What the model before took, and what loading took for a moment.
            await asyncio.get_running_loop().run_in_executor(self._threads, memory.give_back)
            self.metrics.reload("ok")
            log.write("model taken", model_version=store.current.version, previous_version=before)
        return changed

    def about(self) -> dict[str, Any]:
        """What the log says when a worker begins."""
        first = self._first.current
        scorer = first.scorer
        return {
            "model": scorer.model,
            "model_version": first.version,
            "users": len(scorer.user_ids),
            "items": len(scorer.item_ids),
            "event_weights": json.dumps(first.counting.weights.to_dict()),
        }
