"""Values that a worker on another host needs: fetched ahead when it hears of them, and when a slot misses one.

Owns: the store of such a worker (nodes/fetched.py) and its suppliers (nodes/suppliers.py), and what of the scheduler's
words is about them. Must not know: slots, what values are for.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from twistcluster.net.channel import Channel
from twistcluster.net.turn import Timer
from twistcluster.nodes.fetched import Fetched
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.missing import Missing
from twistcluster.nodes.suppliers import Suppliers
from twistcluster.nodes.values_line import Done, Missed
from twistcluster.wire.messages import (
    Freed,
    HandedOver,
    HandOver,
    Holds,
    Message,
    Page,
    Renamed,
    ShutOut,
    Stored,
    Values,
    Welcome,
)

__all__ = ["Fetching"]

AT_ONCE: Final = 4096
"""Ids in one `Holds`."""
HAND_OVER_S: Final = 15.0
"""The longest that a worker which leaves waits until others have its values."""


class Fetching(Missing):
    """Of a worker that has a store of its own."""

    def __init__(self, reactor: Any, store: Fetched, suppliers: Suppliers) -> None:
        super().__init__(lambda _name: None)
        self._reactor = reactor
        self._handed_over: Callable[[], None] = _nothing
        self._patience: Timer | None = None
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
        if welcome.store:
            self._suppliers.joined(process)

    def hand_over(self, link: Channel, done: Callable[[], None]) -> None:
        """The worker leaves: the scheduler brings away what somebody may still ask for, in the time that there is."""
        if not self._store.made_ids:
            done()
            return
        log_event("info", "handing over values that others may ask for", {"values": len(self._store.made_ids)})
        self._handed_over = done
        self._patience = self._reactor.callLater(HAND_OVER_S, self._has_handed_over)
        link.send(HandOver())

    def _has_handed_over(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        done, self._handed_over = self._handed_over, _nothing
        done()

    def left(self) -> None:
        """The link to the scheduler is lost."""
        self._suppliers.left()
        self._has_handed_over()

    def wanted(self, name: bytes, done: Done) -> None:
        """A slot can't read a value."""
        if self._store.held(name) is not None:  # it has come since
            done(None)
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
                self._suppliers.begin_anew(name)
                return self._store.renamed(made, name)
            case HandedOver():
                self._has_handed_over()
                return None
            case ShutOut(serials):
                self._suppliers.shut_out(serials)
                return None
            case _:
                pass
        return message


def _nothing() -> None:
    """It doesn't leave."""


def _ahead(_missed: Missed | None) -> None:
    """Nobody waits for it yet."""
