"""Which requests a worker takes, and which are told to come again later.

At most ``in_flight`` requests are worked on. As many clients as that may ask without a pause and are all served.

Beyond it a request is refused, and its connection *put off*: it is not listened to until about when it may ask again,
so that those who ask again at once cannot take all of the time. Where more ask than may be in flight, those who were
put off included, there is a *crowd*, and only ``in_crowd`` requests at a time wait for the processor: enough to keep it
busy, and so few that an answer takes hardly longer than without a crowd. Two kinds of clients are told apart then:

* for one that waited as long as it was told, or asks seldom, there are as many places more;
* one that asked again too early, and so has waited unheard, is refused once more and told to wait twice as long, as an
  answer would come late in any case. When the crowd has gone it is answered.
"""

import math

from ancf.serving.limits import Limits

_AGAIN = 8


class Client:
    """What is known of whoever asks over a connection."""

    __slots__ = ("early", "told", "until")

    def __init__(self) -> None:
        self.told = 0
        """Seconds that it was told to wait; 0 where its last request was taken."""
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

    @property
    def crowded(self) -> bool:
        """Whether many more ask than can be answered."""
        return self.put_off + self.waiting >= self._limits.in_flight

    def ask(self, client: Client, now: float) -> int:
        """Seconds after which a client shall ask again; 0 where its request is taken."""
        limits = self._limits
        if self._has_place(client, now):
            client.told, client.until = 0, now + limits.retry_after
        else:
            # The more there are, the later each, so that only so many come again in a second.
            wait = 2 * client.told if client.early else limits.retry_after + self.put_off // (_AGAIN * limits.in_flight)
            client.told = min(wait, max(limits.retry_after, limits.longest_retry_after))
            client.until = now + client.told
        client.early = False
        return client.told

    def _has_place(self, client: Client, now: float) -> bool:
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
