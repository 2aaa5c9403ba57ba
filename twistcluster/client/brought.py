"""Large results of a cluster on another host: they come when they are read, on a connection of their own.

Owns: what came, as long as this program may read it again, and that connection. Must not know: links of the session,
where a value lies there. TLS is imported where it is used: it is an extra.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future as Reply
from concurrent.futures import TimeoutError as ReplyTimeout
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from twistcluster.client import bridge
from twistcluster.client.patience import answer_of
from twistcluster.errors import StoreFull
from twistcluster.net.addresses import parse_address
from twistcluster.net.turn import Turn
from twistcluster.nodes.hosting import lost_after_s
from twistcluster.nodes.values_line import Done, Missed
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import NotRestoredError
from twistcluster.wire.frames import Buffer

if TYPE_CHECKING:
    from twistcluster.nodes.suppliers import Suppliers

__all__ = ["BroughtValues"]


TRIES: Final = 10
"""Each time that the link is lost while a value comes, it is asked for again."""


class _Came(NamedTuple):
    pieces: Sequence[Buffer]
    sizes: Sequence[int]

    def parts(self) -> list[memoryview]:
        """A copy: what is done to it stays with who reads it."""
        whole = memoryview(bytearray().join(self.pieces))
        return [whole[end - size : end] for end, size in zip(accumulate(self.sizes), self.sizes, strict=True)]


class BroughtValues:
    """Of one session.

    Args:
        address: Of the cluster.
        turn: Shared with the session's link.
        restore: Has a value made again that is nowhere, and returns when it is there, by a deadline.
        drop: Called with the id of a value that nobody here asks for any more, as a `Handle`'s.
    """

    def __init__(
        self, address: str, turn: Turn, restore: Callable[[bytes, float | None], None], drop: Callable[[bytes], None]
    ) -> None:
        self._address = parse_address(address)
        self._turn = turn
        self._restore = restore
        self._drop = drop
        self._came: dict[bytes, _Came] = {}
        self._suppliers: Suppliers | None = None

    # ---- on the reactor's thread ----

    def joined(self, process: str) -> None:
        """The scheduler has taken the session, which has this id."""
        if self._suppliers is None:
            self._suppliers = self._made()
        self._suppliers.joined(process)

    def left(self) -> None:
        """The session's link is lost."""
        if self._suppliers is not None:
            self._suppliers.left()

    def close(self) -> None:
        """The session ends. What came stays readable."""
        if self._suppliers is not None:
            self._suppliers.close()

    def _made(self) -> "Suppliers":
        from twistcluster.net.tls.membership import Membership
        from twistcluster.nodes.suppliers import Suppliers

        member = Membership(self._address, "client")
        return Suppliers(
            bridge.reactor(),
            self._turn,
            self._address,
            member.identity,
            read=lambda _name: None,
            keep=self._keep,
            lost_after_s=lost_after_s(),
            meets=False,
        )

    def _keep(self, name: bytes, pieces: Sequence[Buffer], sizes: Sequence[int], done: Done) -> None:
        self._came[name] = _Came(pieces, sizes)
        done(None)

    # ---- from any thread ----

    def parts(self, name: bytes, deadline: float | None = None) -> list[memoryview]:
        """A value's pickle and its buffers, as a copy.

        Raises:
            ObjectGone: It is nowhere to be had.
            StoreFull: It has no room on the cluster's host, through which it comes.
            NotRestoredError: It isn't here at `deadline`, on the monotonic clock. It goes on.
        """
        for _ in range(TRIES):
            if (came := self._came.get(name)) is not None:
                return came.parts()
            missed = self._fetch(name, deadline)
            if missed is not None and missed.full:
                raise StoreFull(missed.full)
            if missed is not None:  # nowhere, or the link was lost meanwhile: this waits until it is back
                self._restore(name, deadline)
            elif (came := self._came.get(name)) is not None:
                return came.parts()
        raise ObjectGone(f"value {name.hex()} is on another host, and didn't come", name)

    def dropped(self, name: bytes) -> None:
        """Nobody here asks for it any more."""
        self._came.pop(name, None)
        self._drop(name)

    def _fetch(self, name: bytes, deadline: float | None) -> Missed | None:
        reply: Reply[Missed | None] = Reply()

        def ask() -> None:
            if self._suppliers is None:
                reply.set_result(Missed())
            else:
                self._suppliers.fetch(name, reply.set_result)

        bridge.call(lambda: self._turn.run(ask))
        try:
            return answer_of(reply, deadline)
        except ReplyTimeout:
            raise NotRestoredError(
                f"value {name.hex()} is on another host and isn't here yet; it is on its way"
            ) from None
