"""Values that lie on other hosts: with which worker, and how they are brought to the scheduler's host when they are needed.

A worker on another host keeps what its slots made. Somebody on this host who can't read such a value has it brought here
(`bring`), over the connection for values that the worker made; a worker elsewhere is told where it lies, and fetches it
itself if it can (nodes/suppliers.py). Owns: which worker has which value, these connections, what is on its way here.
Must not know: what is said on other links, who needs a value.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from twistcluster.errors import StoreFull
from twistcluster.net.addresses import Address, parse_address
from twistcluster.net.channel import Channel
from twistcluster.net.turn import Timer
from twistcluster.net.version import VERSION
from twistcluster.nodes.hosting import python_version
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.values_line import Coming, Done, Missed, ValuesLine
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore
from twistcluster.wire.limits import MAKER_BYTES
from twistcluster.wire.messages import Absent, At, Freed, Give, Hello, Renamed, Welcome

__all__ = ["Holder", "Whereabouts"]

AHEAD: Final = 2
"""When a value is brought, so many that the same process made next are, too: who reads one reads on, as a rule."""


@dataclass(slots=True, eq=False)
class Holder:
    """A worker on another host."""

    link: Channel
    process: str
    port: int
    ids: set[bytes] = field(default_factory=set)
    """Values that it may have: it made them, or was told of them."""
    told: bool = False
    """It has said what it has from before it joined."""

    @property
    def address(self) -> str:
        """Where it hands out values; empty: nowhere."""
        return str(Address(parse_address(self.link.where).host, self.port)) if self.port else ""


@dataclass(slots=True, eq=False)
class _Wanted:
    coming: Coming
    holder: Holder
    done: list[Done] = field(default_factory=list)
    timer: Timer | None = None


class Whereabouts:
    """Of one scheduler.

    Args:
        reactor: Twisted's.
        store: of this host.
        lost_after_s: how much silence is a loss; as long is waited for a worker to make its connection again.
    """

    def __init__(self, reactor: Any, store: ValueStore, lost_after_s: float) -> None:
        self._reactor = reactor
        self._store = store
        self._lost_after_s = lost_after_s
        self._holders: dict[str, Holder] = {}
        """By process."""
        self._at: dict[bytes, Holder] = {}
        """Values that this host doesn't have."""
        self._lines: dict[Channel, tuple[str, ValuesLine]] = {}
        self._by_process: dict[str, ValuesLine] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._copies: dict[bytes, Holder] = {}
        """Values that are here and still with their workers, in the order in which they came."""
        self._unsure: list[tuple[bytes, Done]] = []
        """Values that are asked for, and that a worker which has just joined may say to have."""

    # ---- workers ----

    def joined(self, link: Channel, hello: Hello) -> Holder:
        """A worker on another host has come."""
        holder = self._holders[hello.process] = Holder(link, hello.process, hello.port)
        return holder

    def left(self, holder: Holder) -> None:
        """It is gone, and what it has with it."""
        if self._holders.get(holder.process) is holder:
            del self._holders[holder.process]
        for places in (self._at, self._copies):
            for name in [name for name in holder.ids if places.get(name) is holder]:
                del places[name]
        for wanted in [each for each in self._wanted.values() if each.holder is holder]:
            self._settle(wanted, Missed())
        self._look_again()

    def made(self, holder: Holder, ids: Iterable[bytes]) -> None:
        """A worker has these."""
        for name in ids:
            holder.ids.add(name)
            self._at.setdefault(name, holder)

    def holds(self, holder: Holder, ids: Iterable[bytes], *, more: bool) -> None:
        """A worker that has joined has these, among them copies of what is here; `more`: it says more."""
        for name in ids:
            if self._store.has(name):
                holder.ids.add(name)
            else:
                self.made(holder, [name])
        holder.told = not more
        self._look_again()

    def _look_again(self) -> None:
        unsure, self._unsure = self._unsure, []
        for name, done in unsure:
            self.bring(name, done)

    def renamed(self, made: bytes, name: bytes) -> bool:
        """A value takes another's name; False: it is on this host."""
        holder = self._at.pop(made, None)
        if holder is None:
            return False
        holder.ids.discard(made)
        holder.ids.add(name)
        self._at[name] = holder
        holder.link.send(Renamed(made, name))
        return True

    def freed(self, ids: Iterable[bytes]) -> None:
        """Nobody can ask for these any more."""
        gone = frozenset(ids)
        for name in gone:
            self._at.pop(name, None)
            self._copies.pop(name, None)
            if (wanted := self._wanted.get(name)) is not None:
                self._settle(wanted, Missed())
        for holder in self._holders.values():
            if its := holder.ids & gone:
                holder.ids -= its
                holder.link.send(Freed([*its]))
        self._store.freed(gone)  # of these, the copies that were made here

    # ---- bringing them here ----

    def bring(self, name: bytes, done: Done) -> None:
        """Have a value in this host's store; `done` is told whether it is there."""
        if name not in self._at:
            if self._store.has(name):
                done(None)
            elif all(holder.told for holder in self._holders.values()):
                done(Missed())
            else:
                self._unsure.append((name, done))
            return
        self._fetch(name).done.append(done)
        number = int.from_bytes(name[MAKER_BYTES:], "big")
        for following in range(number + 1, number + 1 + AHEAD):
            near = name[:MAKER_BYTES] + following.to_bytes(len(name) - MAKER_BYTES, "big")
            if near in self._at:
                self._fetch(near)

    def bring_all(self, ids: Sequence[bytes], done: Callable[[], None]) -> None:
        """Have these here, as far as they can be had; then call `done`."""
        missing = [name for name in ids if name in self._at]
        left = len(missing)
        if not left:
            done()
            return

        def one(_missed: Missed | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for name in missing:
            self._fetch(name).done.append(one)

    def hand_over(self, holder: Holder, done: Callable[[], None]) -> None:
        """A worker is about to leave: have all here that lies with it alone; then call `done`."""
        self.bring_all([name for name in holder.ids if self._at.get(name) is holder], done)

    def _fetch(self, name: bytes) -> _Wanted:
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = _Wanted(Coming(name), self._at[name])
            self._ask(wanted)
        return wanted

    def _ask(self, wanted: _Wanted) -> None:
        """Its worker, if its connection is there; else once it has made it again."""
        line = self._by_process.get(wanted.holder.process)
        if line is not None:
            line.ask(wanted.coming)
        else:
            wanted.timer = self._reactor.callLater(self._lost_after_s, lambda: self._settle(wanted, Missed()))

    def _settle(self, wanted: _Wanted, missed: Missed | None) -> None:
        self._wanted.pop(wanted.coming.name, None)
        if wanted.timer is not None and wanted.timer.active():
            wanted.timer.cancel()
        for done in wanted.done:
            done(missed)

    # ---- connections for values, which workers make ----

    def connected(self, link: Any, hello: Hello) -> None:
        """A member's connection for values has come."""
        line = ValuesLine(
            self._reactor,
            read=self._read,
            elsewhere=self._elsewhere,
            settled=self._settled,
            lost=lambda line, _reason, coming: self._line_lost(hello.process, line, coming),
            lost_after_s=self._lost_after_s,
        )
        self._lines[link] = (hello.process, line)
        self._by_process[hello.process] = line
        link.send(Welcome("", "", "", python_version(), VERSION))
        line.begin(link, taken=True)
        for wanted in self._wanted.values():
            if wanted.holder.process == hello.process:
                if wanted.timer is not None and wanted.timer.active():
                    wanted.timer.cancel()
                line.ask(wanted.coming)

    def line(self, link: Channel) -> ValuesLine | None:
        """Of that link; None: it is no connection for values."""
        found = self._lines.get(link)
        return None if found is None else found[1]

    def lost(self, link: Channel, reason: str) -> bool:
        """A link is gone; whether it was a connection for values."""
        found = self._lines.pop(link, None)
        if found is not None:
            found[1].on_lost(link, reason)
        return found is not None

    def links(self) -> list[Channel]:
        """All of them."""
        return [*self._lines]

    def _line_lost(self, process: str, line: ValuesLine, coming: list[Coming]) -> None:
        if self._by_process.get(process) is line:
            del self._by_process[process]
        for each in coming:
            wanted = self._wanted.get(each.name)
            if wanted is not None and wanted.coming is each:
                self._ask(wanted)

    def _read(self, name: bytes) -> list[memoryview] | None:
        try:
            return self._store.parts(name)
        except ObjectGone:
            return None

    def _elsewhere(self, line: ValuesLine, give: Give) -> None:
        """Somebody elsewhere asks for what isn't here."""
        holder = self._at.get(give.id)
        if holder is None or self._by_process.get(holder.process) is line:
            if holder is not None:  # it asks for what it was said to have: it has it no more
                del self._at[give.id]
            line.say(Absent(give.id))
        elif holder.address and not give.through:
            line.say(At(give.id, holder.address))
        else:

            def fetched(_missed: Missed | None) -> None:
                if not line.hand_out(give):
                    line.say(Absent(give.id))

            self._fetch(give.id).done.append(fetched)

    def _settled(self, _line: ValuesLine, coming: Coming, outcome: At | Absent | None) -> None:
        wanted = self._wanted.get(coming.name)
        if wanted is None or wanted.coming is not coming:
            return
        if outcome is not None:  # its worker doesn't have it
            self._at.pop(coming.name, None)
            self._settle(wanted, Missed())
            return
        try:
            self._keep(coming)
        except StoreFull as error:
            log_event("warning", "a value from another host has no room in the store", {"error": error})
            self._settle(wanted, Missed(str(error)))
        else:
            self._at.pop(coming.name, None)
            self._copies[coming.name] = wanted.holder
            self._settle(wanted, None)

    def _keep(self, coming: Coming) -> None:
        """Store what came, if need be in the place of what can be brought again; the oldest goes first.

        Raises:
            StoreFull: there is no room even so.
        """
        while True:
            try:
                self._store.copy(coming.name, coming.pieces, coming.sizes)
                return
            except StoreFull:
                if not self._copies:
                    raise
                oldest = next(iter(self._copies))
                self._at[oldest] = self._copies.pop(oldest)
                self._store.freed([oldest])
