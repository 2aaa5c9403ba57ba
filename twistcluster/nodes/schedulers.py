"""The scheduler that a standalone worker belongs to, on this host or on another one.

Owns: how a link to it is made, and the folder and the store that the worker's slots have. Must not know: when that is done
(nodes/joining.py), what a worker does. TLS is imported where it is used: it is an extra.
"""

import contextlib
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twistcluster.net.addresses import Address, looks_like_address, parse_address
from twistcluster.net.channel import LinkOwner
from twistcluster.net.connections import find
from twistcluster.net.link import Link
from twistcluster.net.places import Lock, Place, lock_name, runtime_folder
from twistcluster.net.token import Token
from twistcluster.net.turn import Turn
from twistcluster.net.unix import connect_link
from twistcluster.nodes.fetched import Fetched
from twistcluster.nodes.hosting import lost_after_s
from twistcluster.nodes.missing import Missing
from twistcluster.storage.values import usable
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import SchedulerToWorker

if TYPE_CHECKING:
    from twistcluster.net.tls.identity import Identity
    from twistcluster.net.tls.membership import Membership
    from twistcluster.nodes.suppliers import Suppliers

__all__ = ["SchedulerThere", "scheduler_at"]

_incoming: Codec = Codec(SchedulerToWorker)
_OURS: Final = re.compile(r"worker-[0-9a-f]{8}")


class SchedulerThere(Protocol):
    """Where a worker's scheduler is."""

    folder: pathlib.Path
    """Of the worker; it is known once there was a link."""
    store: str
    """The folder of a store that the worker shares with it, or has for itself; empty: there is none."""
    port: int
    """Where others fetch values that lie in that store; 0: nowhere."""

    def missing(self, turn: Turn, ask: Callable[[bytes], None]) -> Missing:
        """Where values come from that aren't in the store.

        Args:
            turn: shared with the links of this process.
            ask: asks the scheduler for one.
        """

    async def link_to(self, owner: LinkOwner, turn: Turn) -> Link:
        """A new link to it.

        Raises:
            ClusterUnreachable: it isn't there.
            AccessDenied: it is somebody else's, or takes others only.
        """

    def let_go(self) -> None:
        """The worker has ended: its folder goes."""


def scheduler_at(reactor: Any, target: str, token: Token | None = None, port: int = 0) -> SchedulerThere:
    """The one that this names: a cluster's name, id or connection file, or the address of one on another host.

    Args:
        reactor: Twisted's.
        target: what names it.
        token: to join one on another host with.
        port: where others fetch values from a worker of one on another host; 0: any that is free.

    Raises:
        ValueError: it looks like an address, and is none.
        ImportError: it is one, and TLS isn't installed.
        AccessDenied, OSError: the worker can have no folder on this host.
    """
    if looks_like_address(target):
        return _Elsewhere(reactor, parse_address(target), token, port)
    return _Here(reactor, target)


class _Here:
    """On this host."""

    def __init__(self, reactor: Any, target: str) -> None:
        self.folder = pathlib.Path()
        self.store = ""
        self.port = 0
        self._reactor = reactor
        self._target = target
        self._linked = False

    def missing(self, _turn: Turn, ask: Callable[[bytes], None]) -> Missing:
        return Missing(ask)

    async def link_to(self, owner: LinkOwner, turn: Turn) -> Link:
        found = find(self._target)
        socket = str(found["socket"])
        self.store = usable(str(found.get("store", "")))
        # In the cluster's folder, so that it goes with that at the latest, even if this process is killed.
        self.folder = pathlib.Path(socket).parent / f"worker-{os.getpid()}"
        self._linked = True
        return await connect_link(self._reactor, socket, Link(owner, turn, self._reactor, _incoming))

    def let_go(self) -> None:
        if self._linked:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Elsewhere:
    """On another host, over TLS. There is no store in common; the folder is this worker's own, and so is its store."""

    def __init__(self, reactor: Any, address: Address, token: Token | None, port: int) -> None:
        from twistcluster.net.tls.joining import become_member
        from twistcluster.net.tls.tether import Tether

        self._become_member = become_member
        self._tether = Tether
        self._suppliers: Suppliers | None = None
        self._asked_port = port
        self.port = 0
        self._reactor = reactor
        self._address = address
        self._token = token
        self._member: Membership | None = None
        self._lost_after_s = lost_after_s()
        self._values = Fetched(reactor)
        self.store = self._values.folder
        _clear_dead()
        self._place, self._lock = _own_place()
        self.folder = self._place.folder

    def missing(self, turn: Turn, _ask: Callable[[bytes], None]) -> Missing:
        from twistcluster.nodes.fetching import Fetching
        from twistcluster.nodes.suppliers import Suppliers

        self._suppliers = Suppliers(
            self._reactor,
            turn,
            self._address,
            self._identity,
            read=self._values.held,
            keep=self._values.keep,
            lost_after_s=self._lost_after_s,
        )
        return Fetching(self._reactor, self._values, self._suppliers)

    def _identity(self) -> "Identity":
        assert self._member is not None
        return self._member.identity()

    async def link_to(self, owner: LinkOwner, turn: Turn) -> Link:
        if self._member is None:
            self._member = await self._become_member(self._reactor, turn, self._address, "worker", self._token)
        tether = self._tether(
            self._reactor, turn, owner, _incoming, self._member, beats=False, lost_after_s=self._lost_after_s
        )
        link = await tether.connect()
        if self._suppliers is not None:
            self.port = self._suppliers.listen(link.here, self._asked_port)
        return link

    def let_go(self) -> None:
        if self._suppliers is not None:
            self._suppliers.close()
        self._values.close()
        self._lock.release()
        self._place.remove()


def _own_place() -> tuple[Place, Lock]:
    """A private folder in this user's runtime folder. Its lock says that this process lives."""
    while True:
        name = f"worker-{secrets.token_hex(4)}"
        if (lock := lock_name(name)) is not None:
            return Place(name), lock


def _clear_dead() -> None:
    """Remove the folders of workers that were killed."""
    with contextlib.suppress(OSError):
        for path in runtime_folder().glob("worker-*.lock"):
            if _OURS.fullmatch(path.stem) and (lock := lock_name(path.stem)) is not None:
                Place(path.stem).remove()
                lock.release()
