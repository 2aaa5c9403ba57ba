"""Values that a worker on another host needs: fetched ahead when it hears of them, and when a slot misses one.

Owns: the store of such a worker (nodes/fetched.py) and its suppliers (nodes/suppliers.py), and what of the scheduler's
words is about them. Must not know: slots, what values are for.
"""

from collections.abc import Callable, Sequence

from twistcluster.net.channel import Channel
from twistcluster.nodes.fetched import Fetched
from twistcluster.nodes.missing import Missing
from twistcluster.nodes.suppliers import Suppliers
from twistcluster.wire.messages import Freed, Holds, Message, Page, Renamed, ShutOut, Stored, Values, Welcome

__all__ = ["Fetching"]

AT_ONCE = 4096
"""Ids in one `Holds`."""


class Fetching(Missing):
    """Of a worker that has a store of its own."""

    def __init__(self, store: Fetched, suppliers: Suppliers) -> None:
        super().__init__(lambda _name: None)
        self._store = store
        self._suppliers = suppliers

    def joined(self, link: Channel, welcome: Welcome, process: str) -> None:
        """The scheduler has taken the worker: it is told what is here."""
        self._store.take_results(yes=welcome.store)
        ids = self._store.ids
        while len(ids) > AT_ONCE:
            link.send(Holds(ids[:AT_ONCE], more=True))
            ids = ids[AT_ONCE:]
        link.send(Holds(ids))
        self._suppliers.joined(process)

    def left(self) -> None:
        """The link to the scheduler is lost."""
        self._suppliers.left()

    def wanted(self, name: bytes, done: Callable[[bool], None]) -> None:
        """A slot can't read a value."""
        if self._store.parts(name) is not None:  # it has come since
            done(True)
        else:
            self._suppliers.fetch(name, done)

    def made(self, objects: Sequence[Stored]) -> None:
        """The scheduler is told that slots made these."""
        self._store.made(objects)

    def heard(self, message: Message) -> Message | None:
        """The scheduler said something; returns what is left of it for others."""
        match message:
            case Page() | Values():
                for each in message.objects:
                    if not self._store.has(each.id):
                        self._suppliers.fetch(each.id, _ahead)
            case Freed():
                for name in message.ids:
                    self._suppliers.forget(name)
                return self._store.freed(message)
            case Renamed(made, name):
                self._store.renamed(made, name)
                return None
            case ShutOut(serials):
                self._suppliers.shut_out(serials)
                return None
            case _:
                pass
        return message


def _ahead(_there: bool) -> None:
    """Nobody waits for it yet."""
