"""Peers on other hosts, which have no store in common with this one.

Owns: what stands between a scheduler's node and its links to them. What they are sent has its large values inside; what
comes from them is put into this host's store, as if a process of this host had made it. So the scheduler need not know
where its peers are. Must not know: what a scheduler decides, certificates.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from twistcluster.errors import ProtocolError, StoreFull
from twistcluster.net.channel import Channel, LinkOwner
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.nodes.logging import log_event
from twistcluster.storage.layout import ID_BYTES, ObjectDamaged, ObjectGone
from twistcluster.storage.travelling import packed_up, unpacked
from twistcluster.storage.values import ValueStore
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Bulk, Drop, Freed, Keep, Message, Page, Report, Results, Values
from twistcluster.wire.pages import Packed

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["RemotePeers"]


class RemotePeers:
    """The owner of links to other hosts, for a node that is the owner of links on its own.

    Args:
        node: hears of them.
        turn: shared with its links.
        store: of this host; None: there is none.
    """

    def __init__(self, node: LinkOwner, turn: Turn, store: ValueStore | None) -> None:
        self._node = node
        self._turn = turn
        self._store = store
        self._peers: dict[Channel, _RemotePeer] = {}

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """A peer said something."""
        peer = self._peers.get(link)
        if peer is None:
            peer = self._peers[link] = _RemotePeer(self, link)
        if buffers and self._store is not None and isinstance(message, Page | Report | Results | Values):
            message, buffers = self._came(message, buffers)
        elif buffers and self._store is not None and isinstance(message, Keep):
            self._keep(message, buffers)
            buffers = []
        self._node.on_message(peer, message, buffers)

    def on_lost(self, link: Channel, reason: str) -> None:
        """It is gone."""
        if (peer := self._peers.pop(link, None)) is not None:
            self._node.on_lost(peer, reason)

    def on_paused(self, link: Channel) -> None:
        """It reads slowly."""
        if (peer := self._peers.get(link)) is not None:
            self._node.on_paused(peer)

    def on_resumed(self, link: Channel) -> None:
        """It has caught up."""
        if (peer := self._peers.get(link)) is not None:
            self._node.on_resumed(peer)

    def close(self) -> None:
        """The cluster ends."""
        if self._store is not None:
            self._store.close()

    # ---- values ----

    def send(self, peer: "_RemotePeer", message: Message, buffers: Sequence[Buffer]) -> None:
        """Say something to a peer."""
        if self._store is None:
            peer.link.send(message, buffers)
        elif isinstance(message, Freed):
            self._store.freed(message.ids)
        elif isinstance(message, Page | Results | Values) and message.objects:
            page = unpacked(_packed(message, buffers), self._read)
            if not isinstance(message, Results):
                self._send_ahead(peer, page)
            peer.link.send(_renamed(message, page), page.buffers)
            if isinstance(message, Results):
                # What it has in its hands it never asks for.
                ids = [each.id for each in message.objects if each not in page.objects]
                self._turn.soon(lambda: self._node.on_message(peer, Drop(ids), []))
        else:
            peer.link.send(message, buffers)

    def freed(self, ids: list[bytes]) -> None:
        """Nobody can ask for these any more."""
        for peer in self._peers.values():
            if gone := [name for name in ids if name in peer.copies]:
                peer.copies.difference_update(gone)
                peer.link.send(Freed(gone))

    def _send_ahead(self, peer: "_RemotePeer", page: Packed) -> None:
        """What a page's values refer to, once to each peer."""
        for each in page.objects:
            if each.id not in peer.copies and (parts := self._read(each.id)) is not None:
                peer.copies.add(each.id)
                peer.link.send(Bulk(each.id), parts)

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
        self.copies: set[bytes] = set()
        """Values that it was sent for what refers to them."""
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
        self.link.close(reason)

    def anything_came(self) -> bool:
        """Whether bytes came since this was asked last."""
        return self.link.anything_came()

    @property
    def receiving(self) -> bool:
        """A message has begun to come, and isn't here yet."""
        return self.link.receiving


def _packed(message: Any, buffers: Sequence[Buffer]) -> Packed:
    return Packed(message.kind, message.count, tuple(buffers), objects=tuple(message.objects))


def _renamed(message: Any, page: Packed) -> Any:
    return replace(message, kind=page.kind, objects=list(page.objects))
