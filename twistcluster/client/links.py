"""The links of this process: one to each cluster, shared by all that use it.

A notebook's cell that connects again gets the same link, and so the same jobs by the same names. Owns: who still uses
which. Must not know: what is done with them.
"""

import threading
import weakref

from twistcluster.client import bridge
from twistcluster.client.context import ContextBook
from twistcluster.client.functions import FunctionBook
from twistcluster.client.launch import Connection, follower
from twistcluster.client.opening import Opener
from twistcluster.client.session import Session
from twistcluster.errors import ClusterUnreachable
from twistcluster.wire.values import Definitions

__all__ = ["Tie", "tie"]

_lock = threading.RLock()  # the garbage collector may let go of a cluster while it is held
_ties: "weakref.WeakSet[Tie]" = weakref.WeakSet()
_definitions = Definitions()


class Tie:
    """A session, what opens its jobs, and how many use it."""

    def __init__(self, connection: Connection, owner: str) -> None:
        self.session = Session(connection, _definitions, owner)
        self.contexts = ContextBook()
        self.functions = FunctionBook(_definitions)
        self.opener = Opener(self.session, self.functions, self.contexts)
        self.users = 1

    def let_go(self, reason: str, *, when_idle: bool) -> bool:
        """One user less: the last one ends the link, at once or when its jobs are over. Returns whether it was."""
        if bridge.is_forked():
            return False
        with _lock:
            self.users -= 1
            if self.users:
                return False
            _ties.discard(self)
        self.session.close(reason, when_idle=when_idle)
        return True


def tie(connection: Connection, owner: str = "", tries: int = 3) -> Tie:
    """The link to this cluster, or to the one that takes its place: the one that is there, or a new one."""
    bridge.start()
    with _lock:
        there = _there(connection)
        if there is not None:
            there.users += 1
            return there
    made = Tie(connection, owner)
    try:
        made.session.connect()
    except ClusterUnreachable as error:
        if connection.address:
            raise
        if tries > 1 and (after := follower(connection)) is not None:
            return tie(after, tries=tries - 1)
        # It was found by a file that its process holds, so that lives; but the folder in /tmp may have been cleared away.
        end = f"`twistcluster stop {connection.name or connection.id} --force`"
        raise ClusterUnreachable(f"{error}.\nIf its process {connection.pid} still runs, {end} ends it") from None
    with _lock:
        if _there(connection) is None:
            _ties.add(made)
    return made


def _there(connection: Connection) -> Tie | None:
    """The link to this cluster, or one that is about to find it again."""
    for each in _ties:
        session = each.session
        there = session.connection
        name = there.name if session.away else ""
        same = there.id == connection.id or (name and name == connection.name and there.address == connection.address)
        if session.lost is None and same:
            return each
    return None


def unreachable(what: str) -> ClusterUnreachable:
    """What using a closed cluster object raises."""
    return ClusterUnreachable(f"{what} was closed; tc.Cluster() or tc.connect(name) gives another")
