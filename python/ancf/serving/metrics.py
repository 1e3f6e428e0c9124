"""What Prometheus is told. With several workers they add up what each counts, in files of a folder of their own."""

import os
from collections.abc import Callable
from pathlib import Path

from ancf.serving.admission import Admission
from ancf.serving.served_model import ServedModel

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where the workers count together; named in the environment before prometheus_client is imported."""

_BUCKETS = (
    *(0.0001, 0.0002, 0.0005),
    *(0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0),
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The numbers of a worker."""

    def __init__(self, admission: Admission, waiting_events: Callable[[], int]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "ancf_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ancf_request_seconds",
            "Seconds from a request to its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._lists = Counter("ancf_lists", "Lists by where they come from.", ["source", "variant"], registry=registry)
        self._events = Counter("ancf_events", "Events by what became of them.", ["outcome"], registry=registry)
        self._shed = Counter(
            "ancf_shed_requests", "Requests refused because too many were in flight.", registry=registry
        )
        self._reloads = Counter("ancf_reloads", "Looks at another model file.", ["outcome"], registry=registry)
        self._updates = Counter(
            "ancf_updates", "Updates from the journal that ended.", ["outcome", "variant"], registry=registry
        )
        self._lag = Gauge(
            "ancf_journal_lag_events",
            "Events in the journal behind the last one that the model has learned.",
            ["variant"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._unknown = Gauge(
            "ancf_shop_unknown_ids",
            "Ids of the shop's files that the model does not know.",
            ["of", "variant"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._in_flight = Gauge(
            "ancf_in_flight_requests",
            "Requests that are worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._put_off = Gauge(
            "ancf_put_off_connections",
            "Connections that are not listened to, as they were told to come again later.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "ancf_waiting_events",
            "Events that are not durable yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._memory = Gauge(
            "ancf_resident_bytes", "Memory of a worker.", registry=registry, multiprocess_mode="liveall"
        )
        self._loaded = Gauge(
            "ancf_model_loaded_timestamp_seconds",
            "When the model that answers was loaded.",
            ["variant"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._learned = Gauge(
            "ancf_model_learned_until_timestamp_seconds",
            "Up to when the model that answers has learned.",
            ["variant"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._model = Gauge(
            "ancf_model",
            "1 for the version that answers.",
            ["version", "variant"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._admission, self._read_waiting = admission, waiting_events
        # Finding the child of a label takes longer than counting.
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._listed: dict[tuple[str, str], Counter] = {}
        self._versions: dict[str, str] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        counted = self._answered.get((route, status))
        if counted is None:
            counted = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._answered[route, status] = counted
        counter, histogram = counted
        counter.inc()
        histogram.observe(seconds)

    def list_from(self, source: str, variant: str) -> None:
        """A list was made."""
        counter = self._listed.get((source, variant))
        if counter is None:
            counter = self._listed[source, variant] = self._lists.labels(source, variant)
        counter.inc()

    def events(self, accepted: int, duplicates: int) -> None:
        """Events were written."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("duplicate").inc(duplicates)

    def shed(self) -> None:
        """A request was refused unread."""
        self._shed.inc()

    def reload(self, outcome: str) -> None:
        """Another model file was looked at."""
        self._reloads.labels(outcome).inc()

    def update_ended(self, outcome: str, variant: str) -> None:
        """An update from the journal that this worker started has ended."""
        self._updates.labels(outcome, variant).inc()

    def lag(self, events: int, variant: str) -> None:
        """How far the journal is ahead of a model."""
        self._lag.labels(variant).set(events)

    def model(self, served: ServedModel) -> None:
        """Another model answers, or the same by other files of the shop."""
        variant = served.variant
        for of, unknown in served.unknown.items():
            self._unknown.labels(of, variant).set(unknown)
        if variant in self._versions:
            self._model.labels(self._versions[variant], variant).set(0)
        self._versions[variant] = served.version
        self._model.labels(served.version, variant).set(1)
        self._loaded.labels(variant).set(served.loaded_at)
        known = served.scorer.purchases
        if known is not None and known.until is not None:
            self._learned.labels(variant).set(known.until)

    def update(self) -> None:
        """Bring what changes by itself up to date."""
        self._in_flight.set(self._admission.in_flight)
        self._put_off.set(self._admission.put_off)
        self._waiting.set(self._read_waiting())
        self._memory.set(resident_bytes())

    def text(self) -> bytes:
        """Everything, of all workers, as Prometheus reads it."""
        from prometheus_client import CollectorRegistry, generate_latest

        self.update()
        registry = self._registry
        if FOLDER in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def resident_bytes() -> int:
    """The memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
