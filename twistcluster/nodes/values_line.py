"""A connection for values between two hosts, either end of it: it hands out what the other asks for, and asks.

Large values travel beside what members say to each other, not between it: an order, or a sign of life, never waits
behind one. A value is cut into slices, and its reader says from which byte on it wants it: what came before a connection
was lost needn't come again. Owns: one connection, its slices, its silence. Must not know: who has which value, what is
done when a connection is lost (nodes/suppliers.py, nodes/remote.py), what a value is.
"""

import collections
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from twistcluster.errors import ProtocolError
from twistcluster.net.channel import Channel
from twistcluster.net.link import Link
from twistcluster.net.turn import Timer
from twistcluster.storage.values import Held
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import BUFFERS_PER_FRAME, FRAME_BYTES, MIB
from twistcluster.wire.messages import Absent, At, Give, Message, Part, Welcome

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["Coming", "Done", "Missed", "ValuesLine"]

SLICE_BYTES: Final = MIB
"""Of a value, for one message."""
SLICES_PER_TURN: Final = 2
"""Sent before everybody else has a turn."""
LOOK_S: Final = 1.0


class Missed(NamedTuple):
    """Why a value isn't here."""

    full: str = ""
    """There is no room for it, in words; empty: it is nowhere to be had."""


Done: TypeAlias = Callable[[Missed | None], None]
"""Is told when a value is here (None), or isn't."""


@dataclass(slots=True, eq=False)
class Coming:
    """A value on its way here."""

    name: bytes
    through: bool = False
    """The scheduler is asked to fetch it, from whoever has it."""
    sizes: list[int] = field(default_factory=list)
    """Of its parts; empty: nothing came yet."""
    version: bytes = b""
    """Of what came."""
    pieces: list[Buffer] = field(default_factory=list)
    """What came of it, in order."""
    got: int = 0
    """Bytes that came."""

    def begin(self, sizes: list[int], version: bytes) -> None:
        """Nothing of it is here."""
        self.sizes, self.version, self.pieces, self.got = sizes, version, [], 0

    def add(self, part: Part, buffers: Sequence[Buffer]) -> bool:
        """A slice came; whether that was the last.

        Raises:
            ProtocolError: it isn't the next one.
        """
        if part.offset == 0:
            self.begin(part.sizes, part.version)
        whole = sum(self.sizes)
        came = sum(memoryview(each).nbytes for each in buffers)
        fits = part.offset == self.got and part.sizes == self.sizes and part.version == self.version
        if not fits or not 0 < self.got + came <= whole <= FRAME_BYTES:
            raise ProtocolError(
                f"bytes {part.offset} to {part.offset + came} of a value of {whole} came after {self.got}"
            )
        self.pieces += buffers
        self.got += came
        return self.got == whole


class _Leaving:
    """A value on its way to the other end."""

    def __init__(self, give: Give, held: Held) -> None:
        self.name = give.id
        self.version = held.version
        views = [memoryview(part).cast("B") for part in held.parts]
        self.sizes = [view.nbytes for view in views]
        goes_on = give.version == held.version and give.offset < sum(self.sizes)
        self.offset = give.offset if goes_on else 0
        self._views = collections.deque(view for view in views if view.nbytes)
        skip = self.offset
        while skip:
            skip -= self._take(skip).nbytes

    def slice(self) -> list[Buffer]:
        """The next bytes; none at the end."""
        found: list[Buffer] = []
        room = SLICE_BYTES
        while self._views and room and len(found) < BUFFERS_PER_FRAME - 1:
            taken = self._take(room)
            room -= taken.nbytes
            found.append(taken)
        return found

    def _take(self, most: int) -> memoryview:
        view = self._views.popleft()
        if view.nbytes > most:
            self._views.appendleft(view[most:])
        return view[:most]


class ValuesLine:
    """One end. It is the owner of its link.

    Args:
        reactor: Twisted's.
        read: gives a value that is here, by its id.
        elsewhere: what is said to somebody who asks for one that isn't; it may say so later.
        settled: called with what came of a value that was asked for: it is complete (None), or lies elsewhere or nowhere.
        lost: called with the reason and what was on its way when the connection was lost.
        lost_after_s: how much silence is a loss, while something is on its way here.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        read: Callable[[bytes], Held | None],
        elsewhere: "Callable[[ValuesLine, Give], None]",
        settled: "Callable[[ValuesLine, Coming, At | Absent | None], None]",
        lost: "Callable[[ValuesLine, str, list[Coming]], None]",
        lost_after_s: float,
    ) -> None:
        self._link: Link | None = None
        self._open = False
        self._ended = ""
        self._reactor = reactor
        self._read = read
        self._elsewhere = elsewhere
        self._settled = settled
        self._lost = lost
        self._lost_after_s = lost_after_s
        self._coming: dict[bytes, Coming] = {}
        self._leaving: collections.deque[_Leaving] = collections.deque()
        self._paused = False
        self._pushing: Timer | None = None
        self._looking: Timer | None = None
        self._silent_s = 0.0

    def begin(self, link: Link, *, taken: bool) -> None:
        """The connection is there; `taken`: so is the other end's `Welcome`, or this end's."""
        self._link = link
        if self._ended:
            link.close(self._ended)
        elif taken:
            self._opened()

    @property
    def peer(self) -> "Peer | None":
        """Whose certificate the other end showed."""
        return None if self._link is None else self._link.peer

    @property
    def idle(self) -> bool:
        """Nothing is on its way, in either direction."""
        return not (self._coming or self._leaving)

    def ask(self, coming: Coming) -> None:
        """Ask for a value, or the rest of one, now or as soon as the other end is there."""
        self._coming[coming.name] = coming
        if self._link is None or not self._open:
            return
        self._link.send(Give(coming.name, coming.got, coming.version, coming.through))
        if self._looking is None:
            self._silent_s = 0.0
            self._looking = self._reactor.callLater(LOOK_S, self._look)

    def hand_out(self, give: Give) -> bool:
        """Send what was asked for; False: it isn't here."""
        held = self._read(give.id)
        if held is None:
            return False
        self._leaving.append(_Leaving(give, held))
        self._push_soon()
        return True

    def say(self, message: At | Absent) -> None:
        """What there is to say instead."""
        if self._link is not None:
            self._link.send(message)

    def close(self, reason: str) -> None:
        """End it, or have it end as soon as it is there."""
        self._ended = reason
        if self._link is not None:
            self._link.close(reason)

    # ---- the link's owner ----

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The other end said something."""
        match message:
            case Part():
                self._came(message, buffers)
            case Give():
                if not self.hand_out(message):
                    self._elsewhere(self, message)
            case At() | Absent():
                if (coming := self._coming.pop(message.id, None)) is not None:
                    self._settled(self, coming, message)
            case Welcome():
                self._opened()
            case _:
                link.close("that isn't said on a connection for values")

    def on_lost(self, _link: Channel | None, reason: str) -> None:
        """It is gone, or never was."""
        self._link, self._open = None, False
        for timer in (self._looking, self._pushing):
            if timer is not None and timer.active():
                timer.cancel()
        self._looking = self._pushing = None
        self._leaving.clear()
        coming, self._coming = [*self._coming.values()], {}
        self._lost(self, reason, coming)

    def on_paused(self, _link: Channel) -> None:
        """The other end reads slowly."""
        self._paused = True

    def on_resumed(self, _link: Channel) -> None:
        """It has caught up."""
        self._paused = False
        self._push_soon()

    # ---- inside ----

    def _opened(self) -> None:
        self._open = True
        for coming in [*self._coming.values()]:
            self.ask(coming)

    def _came(self, part: Part, buffers: list[Buffer]) -> None:
        coming = self._coming.get(part.id)
        if coming is None:  # nobody wants it any more
            return
        if coming.add(part, buffers):
            del self._coming[part.id]
            self._settled(self, coming, None)

    def _push_soon(self) -> None:
        if self._pushing is None and self._leaving and not self._paused:
            self._pushing = self._reactor.callLater(0, self._push)

    def _push(self) -> None:
        self._pushing = None
        for _ in range(SLICES_PER_TURN):
            if self._link is None or self._paused or not self._leaving:
                return
            leaving = self._leaving[0]
            if buffers := leaving.slice():
                self._link.send(Part(leaving.name, leaving.offset, leaving.sizes, leaving.version), buffers)
                self._link.flush()
                leaving.offset += sum(memoryview(each).nbytes for each in buffers)
            else:
                self._leaving.popleft()
        self._push_soon()

    def _look(self) -> None:
        self._looking = None
        if not self._coming or self._link is None:
            return
        self._looking = self._reactor.callLater(LOOK_S, self._look)
        wire = self._link.transport
        self._silent_s = 0.0 if wire.heard else self._silent_s + LOOK_S  # type: ignore[union-attr] # of a TLS link
        wire.heard = False  # type: ignore[union-attr]
        if self._silent_s > self._lost_after_s:
            self._link.abort(f"no byte of a value came for {self._silent_s:.0f} s")
