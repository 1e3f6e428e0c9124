"""Which requests a worker takes, and which are told to come again later.

At most ``in_flight`` requests are worked on. As many clients as that may ask without a pause and are all served.

Beyond it a request is refused, and its connection *put off*: it is not listened to until about when it may ask again,
so that those who ask again at once cannot take all of the time. Where more ask than may be in flight, those who were
put off included, there is a *crowd*, and only ``in_crowd`` requests at a time wait for the processor: enough to keep it
busy, and so few that an answer takes hardly longer than without a crowd. Two kinds of clients are told apart then:

* for one that waited as long as it was told, or asks seldom, there are as many places more;
* one that asked again too early, and so has waited unheard, is refused once more and told to wait twice as long, as an
  answer would come late in any case. When the crowd has gone it is answered.

``Retry-After`` is in whole seconds, so all who are refused at one moment and wait as they are told come again at one
moment, and what is asked beside them is answered late. So more than a few refusals at once are *spread* over a second:
each goes out at a moment of its own, and from then on they come one after the other.
"""

import math

from ancf.serving.limits import Limits

_AGAIN = 4
# As many refusals a second go out at once, and so many beyond that; others are spread.
_REFUSALS_PER_SECOND, _REFUSALS_AT_ONCE = 2000, 10
# Multiples of it, without their whole part, are spread evenly, however many there are.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class Client:
    """What is known of whoever asks over a connection."""

    __slots__ = ("early", "pause", "told", "until")

    def __init__(self) -> None:
        self.told = 0
        """Seconds that it was told to wait; 0 where its last request was taken."""
        self.pause = 0.0
        """Seconds until it shall be told that."""
        self.early = False
        """Whether its next request was there before that."""
        self.until = math.inf
        """The moment from which on it is patient."""


class Admission:
    """The requests of a worker that are in flight, and the connections that are put off."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.in_flight = 0
        """Requests whose headers have come and whose answer has not gone."""
        self.waiting = 0
        """Those of them that wait for the processor."""
        self.put_off = 0
        """Connections that are not listened to."""
        self._refused_until = 0.0
        """The moment up to which refusals use what may go out in a second."""
        self._n_spread = 0

    @property
    def crowded(self) -> bool:
        """Whether many more ask than can be answered."""
        return self.put_off + self.waiting >= self._limits.in_flight

    def has_place(self, client: Client, now: float) -> bool:
        """Whether its request would be taken."""
        limits = self._limits
        if self.in_flight >= limits.in_flight:
            return False
        if not self.crowded:
            return True
        if client.early:
            return False
        if now >= client.until:
            return self.waiting < 2 * limits.in_crowd
        return not client.told and self.waiting < limits.in_crowd

    def take(self, client: Client, now: float) -> None:
        """Its request is taken."""
        client.told, client.until, client.early = 0, now + self._limits.retry_after, False

    def ask(self, client: Client, now: float) -> int:
        """Seconds after which a client shall ask again; 0 where its request is taken."""
        limits = self._limits
        if self.has_place(client, now):
            self.take(client, now)
            return 0
        # The more there are, the later each, so that only so many come again in a second.
        wait = 2 * client.told if client.early else limits.retry_after + self.put_off // (_AGAIN * limits.in_flight)
        client.told = min(wait, max(limits.retry_after, limits.longest_retry_after))
        client.pause = self._pause(now)
        client.until, client.early = now + client.pause + client.told, False
        return client.told

    def _pause(self, now: float) -> float:
        """Seconds after which this refusal shall go out."""
        used = max(self._refused_until - now, 0.0) + 1 / _REFUSALS_PER_SECOND
        self._refused_until = now + min(used, 1.0)
        if used <= _REFUSALS_AT_ONCE / _REFUSALS_PER_SECOND:
            return 0.0
        self._n_spread += 1
        return self._n_spread * _GOLDEN_RATIO % 1.0
