"""Every limit of the server in one table: what it bounds, and what happens beyond it."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, deadlines in seconds, all for one worker. ``docs/serving.md`` has the table in words."""

    list_length: int = 1000
    """Items of one list (``n``)."""
    users: int = 100
    """Users of one request for lists."""
    items: int = 10_000
    """Items of one filter, history or request for scores."""
    events: int = 1000
    """Events of one request."""
    id_length: int = 512
    """Characters of an id."""
    events_per_user: int = 1000
    """The newest events of a user that are counted in lists."""
    headers: int = 16 << 10
    body: int = 1 << 20
    in_flight: int = 128
    """Requests that are worked on or wait for it; more get 503."""
    in_crowd: int = 16
    """Requests that wait for the processor where as many connections were put off as may be in flight."""
    events_per_second: int = 20_000
    """Events that are taken in a second, after a burst of so many, or of one request; more get 503."""
    waiting_events: int = 50_000
    """Events that wait to be written; more get 503."""
    header_deadline: float = 5.0
    """From the first byte of a request, or from the connection, to the end of its headers."""
    body_deadline: float = 10.0
    """From the end of the headers to the end of the body."""
    handling_deadline: float = 2.0
    """From the end of the body to the answer."""
    write_deadline: float = 10.0
    """For a client to take what is written to it."""
    keep_alive: float = 75.0
    """Between two requests of a connection."""
    drain: float = 10.0
    """For requests that are worked on when the server is told to stop."""
    retry_after: int = 1
    """Seconds that a client is asked to wait after 503."""
    longest_retry_after: int = 4
    """The same for one that asked again too early, which doubles each time."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value <= 0:
                raise ValueError(f"the limit {each.name} is {value}; give a number above 0.")
