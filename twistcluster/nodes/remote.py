"""Peers on other hosts, which have no store in common with this one.

Owns: what stands between a scheduler's node and its links to them. A client elsewhere is sent results with their large
values inside, and what it sends is put into this host's store as if a process of this host had made it; workers elsewhere
have stores of their own, and fetch what they need (nodes/whereabouts.py). So the scheduler need not know where its peers
are. Must not know: what a scheduler decides, certificates.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from twistcluster.core.vigil import LOST_AFTER_S
from twistcluster.errors import ProtocolError, StoreFull
from twistcluster.net.channel import Channel, LinkOwner
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.values_line import Done, Missed
from twistcluster.nodes.whereabouts import Holder, Whereabouts
from twistcluster.storage.layout import ID_BYTES, ObjectDamaged, ObjectGone
from twistcluster.storage.travelling import packed_up, unpacked
from twistcluster.storage.values import ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Drop,
    Freed,
    HandedOver,
    HandOver,
    Hello,
    Holds,
    Keep,
    Message,
    Page,
    Report,
    Results,
    Resume,
    Resumed,
    ShutOut,
    Values,
    Welcome,
)
from twistcluster.wire.pages import Packed

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["RemotePeers"]


class RemotePeers:
    """The owner of links to other hosts, for a node that is the owner of links on its own.

    Args:
        reactor: Twisted's.
        node: hears of them.
        turn: shared with its links.
        store: of this host; None: there is none, and all values travel inside.
        is_counted: whether somebody may ask for a value.
        denied: gives the serials of certificates that are shut out.
        lost_after_s: how much silence is a loss.
        family: of a certificate's serial: that of the one which it took the place of.
        returning_s: how long workers may take to come back that had values before this scheduler was started.
    """

    def __init__(
        self,
        reactor: Any,
        node: LinkOwner,
        turn: Turn,
        store: ValueStore | None,
        *,
        is_counted: Callable[[bytes], bool] = lambda _name: True,
        denied: Callable[[], list[str]] = list,
        lost_after_s: float = LOST_AFTER_S,
        family: Callable[[str], str] = str,
        returning_s: float = 0.0,
    ) -> None:
        self._node = node
        self._turn = turn
        self._store = store
        self._is_counted = is_counted
        self._denied = denied
        self._peers: dict[Channel, _RemotePeer] = {}
        self._values = None if store is None else Whereabouts(reactor, store, lost_after_s, family, returning_s)

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """A peer said something."""
        peer = self._peers.get(link)
        if peer is None:
            if self._values is not None and (line := self._values.line(link)) is not None:
                line.on_message(link, message, buffers)
                return
            if self._values is not None and isinstance(message, Hello) and message.role == "values":
                self._values.connected(link, message)
                return
            peer = self._meet(link, message)
        if self._values is None:
            if isinstance(message, Holds | HandOver):  # it has nothing that this host could fetch
                if isinstance(message, HandOver):
                    link.send(HandedOver())
                return
        else:
            match message:
                case Report() if peer.holder is not None and message.objects:
                    self._values.made(peer.holder, {each.id: each.nbytes for each in message.objects})
                case Holds() if peer.holder is not None:
                    self._held(peer.holder, message)
                    return
                case HandOver() if peer.holder is not None:
                    self._values.hand_over(peer.holder, lambda: link.send(HandedOver()))
                    return
                case Resume():
                    peer.missing = [name for name in message.put if self._read(name) is None]
                case _:
                    pass
        if buffers and self._store is not None:
            if isinstance(message, Page | Report | Results | Values):
                message, buffers = self._came(message, buffers)
            elif isinstance(message, Keep):
                self._keep(message, buffers)
                buffers = []
        self._node.on_message(peer, message, buffers)

    def on_lost(self, link: Channel, reason: str) -> None:
        """It is gone."""
        if (peer := self._peers.pop(link, None)) is not None:
            if self._values is not None and peer.holder is not None:
                self._values.left(peer.holder)
            self._node.on_lost(peer, reason)
        elif self._values is not None:
            self._values.lost(link, reason)

    def on_paused(self, link: Channel) -> None:
        """It reads slowly."""
        if (peer := self._peers.get(link)) is not None:
            self._node.on_paused(peer)
        elif self._values is not None and (line := self._values.line(link)) is not None:
            line.on_paused(link)

    def on_resumed(self, link: Channel) -> None:
        """It has caught up."""
        if (peer := self._peers.get(link)) is not None:
            self._node.on_resumed(peer)
        elif self._values is not None and (line := self._values.line(link)) is not None:
            line.on_resumed(link)

    def close(self) -> None:
        """The cluster ends."""
        if self._values is not None:
            self._values.close()
        if self._store is not None:
            self._store.close()

    def turned_away(self, peer: "_RemotePeer") -> None:
        """Its link is closed from here: nothing is fetched from it any more, however long that takes."""
        if self._values is not None and peer.holder is not None:
            self._values.left(peer.holder)

    def value_links(self) -> list[Channel]:
        """Of connections for values alone."""
        return [] if self._values is None else self._values.links()

    def shut_out(self) -> None:
        """Somebody was denied: workers hand out nothing to that one any more."""
        for peer in self._peers.values():
            if peer.holder is not None:
                peer.link.send(ShutOut(self._denied()))

    def _meet(self, link: Channel, message: Message) -> "_RemotePeer":
        peer = self._peers[link] = _RemotePeer(self, link)
        if self._values is not None and isinstance(message, Hello) and message.role == "worker":
            peer.holder = self._values.joined(link, message)
        return peer

    # ---- values ----

    def bring(self, name: bytes, done: Done) -> None:
        """Have a value in this host's store, wherever it is; `done` is told whether it is there."""
        if self._values is not None:
            self._values.bring(name, lambda missed: self._turn.soon(lambda: done(missed)))
        else:
            self._turn.soon(lambda: done(Missed()))

    def bring_all(self, ids: Sequence[bytes], done: Callable[[], None]) -> None:
        """Have these here, as far as they can be had; then call `done`."""
        if self._values is not None:
            self._values.bring_all(ids, done)
        else:
            done()

    def renamed(self, made: bytes, name: bytes) -> bool:
        """A value takes another's name; False: it is on this host."""
        return self._values is not None and self._values.renamed(made, name)

    def freed(self, ids: list[bytes]) -> None:
        """Nobody can ask for these any more."""
        if self._values is not None:
            self._values.freed(ids)

    def send(self, peer: "_RemotePeer", message: Message, buffers: Sequence[Buffer]) -> None:
        """Say something to a peer."""
        if self._store is None:
            peer.link.send(message, buffers)
            return
        match message:
            case Freed():
                self._store.freed(message.ids)  # a worker was told already
            case Page() | Values() if peer.holder is not None:
                peer.holder.named.update(each.id for each in message.objects if each.id not in peer.holder.has)
                peer.link.send(message, buffers)
            case Resumed():
                peer.link.send(replace(message, missing=peer.missing))
            case Results() if message.objects:
                self._send_results(peer, message, buffers)
            case Welcome():
                peer.link.send(replace(message, store=True))
                if peer.holder is not None and (denied := self._denied()):
                    peer.link.send(ShutOut(denied))
            case _:
                peer.link.send(message, buffers)

    def _send_results(self, peer: "_RemotePeer", message: Results, buffers: Sequence[Buffer]) -> None:
        """With the values inside that this host has; others are asked for when they are wanted."""
        page = unpacked(_packed(message, buffers), self._read)
        peer.link.send(_renamed(message, page), page.buffers)
        # What it has in its hands it never asks for.
        if ids := [each.id for each in message.objects if each not in page.objects]:
            self._turn.soon(lambda: self._node.on_message(peer, Drop(ids), []))

    def _held(self, holder: Holder, message: Holds) -> None:
        """A worker that has joined has these still."""
        assert self._values is not None
        ids = message.ids
        self._values.holds(holder, [name for name in ids if self._is_counted(name)], more=message.more)
        if gone := [name for name in ids if not self._is_counted(name)]:
            holder.link.send(Freed(gone))

    def _came(self, message: Any, buffers: Sequence[Buffer]) -> tuple[Message, list[Buffer]]:
        page = packed_up(_packed(message, buffers), self._put)
        return _renamed(message, page), list(page.buffers)

    def _keep(self, message: Keep, parts: list[Buffer]) -> None:
        assert self._store is not None
        if len(message.objects) != 1 or len(message.objects[0].id) != ID_BYTES:
            raise ProtocolError(f"a value from another host comes alone, under an id of {ID_BYTES} bytes")
        name = message.objects[0].id
        if self._read(name) is not None:
            raise ProtocolError(f"there is a value {name.hex()} in the store already")
        try:
            self._store.copy(name, parts)
        except StoreFull as error:  # whoever needs it says that it misses it
            log_event("warning", "a value from another host has no room in the store", {"error": error})

    def _read(self, name: bytes) -> Sequence[Buffer] | None:
        assert self._store is not None
        try:
            return self._store.parts(name)
        except (ObjectGone, ObjectDamaged):
            return None  # the peer says that it misses it, as every peer does

    def _put(self, parts: Sequence[Buffer]) -> tuple[bytes, int] | None:
        assert self._store is not None
        try:
            return self._store.put(parts)
        except StoreFull:
            return None


class _RemotePeer:
    """What a node holds of a peer on another host."""

    local = False

    def __init__(self, peers: RemotePeers, link: Channel) -> None:
        self.link = link
        self.holder: Holder | None = None
        """Of a worker: what it has."""
        self.missing: list[bytes] = []
        """Of a client: values that it sent, before its link was lost, and that aren't here."""
        self._peers = peers

    @property
    def state(self) -> LinkState:
        """Of the link."""
        return self.link.state

    @property
    def peer(self) -> "Peer | None":
        """Whose certificate it showed."""
        return self.link.peer

    @property
    def where(self) -> str:
        """Its address."""
        return self.link.where

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Say something: it leaves at the end of this turn."""
        self._peers.send(self, message, buffers)

    def flush(self) -> None:
        """Let what was sent leave now."""
        self.link.flush()

    def close(self, reason: str = "closed") -> None:
        """End the link once what was sent has left."""
        self._peers.turned_away(self)
        self.link.close(reason)

    def anything_came(self) -> bool:
        """Whether bytes came since this was asked last."""
        return self.link.anything_came()

    @property
    def receiving(self) -> bool:
        """A message has begun to come, and isn't here yet."""
        return self.link.receiving

    def turn_out(self, last: Message, reason: str) -> None:
        """End the link at once, with a last word if that can leave now."""
        self._peers.turned_away(self)
        self.link.turn_out(last, reason)


def _packed(message: Any, buffers: Sequence[Buffer]) -> Packed:
    return Packed(message.kind, message.count, tuple(buffers), objects=tuple(message.objects))


def _renamed(message: Any, page: Packed) -> Any:
    return replace(message, kind=page.kind, objects=list(page.objects))
