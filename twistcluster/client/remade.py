"""Values that this program was told of and that are gone: the cluster makes them again.

Owns: who waits for which, until when. Must not know: where values lie, how they are made.
"""

from collections.abc import Callable
from concurrent.futures import Future as Reply
from concurrent.futures import TimeoutError as ReplyTimeout
from typing import Any

from twistcluster.client.patience import answer_of
from twistcluster.storage.values import NotRestoredError
from twistcluster.wire.messages import Question, Restore

__all__ = ["Remade"]


class Remade:
    """The values on their way back, for one session.

    Args:
        ask: Asks the scheduler.
    """

    def __init__(self, ask: Callable[[Question], "Reply[Any]"]) -> None:
        self._ask = ask
        self._asked: dict[bytes, Reply[Any]] = {}
        """A value is asked for once, however often somebody looks whether it is there."""

    def wait(self, name: bytes, deadline: float | None) -> None:
        """Return when the value is there again.

        Args:
            name: Of the value.
            deadline: On the monotonic clock; None: wait as long as it takes.

        Raises:
            ObjectLost: It can't be made again.
            ClusterUnreachable: There is nobody to make it.
            NotRestoredError: It isn't there at `deadline`. It goes on: who asks again waits for the rest.
        """
        reply = self._asked.get(name)
        if reply is None or reply.done():
            reply = self._asked[name] = self._ask(Restore(name))
            reply.add_done_callback(lambda _: self._asked.pop(name, None))
        try:
            answer_of(reply, deadline)
        except ReplyTimeout:
            raise NotRestoredError(f"value {name.hex()} was lost and isn't made again yet; that goes on") from None
