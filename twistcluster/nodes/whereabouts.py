"""Values that lie on other hosts: with which worker, and how they are brought to the scheduler's host when they are needed.

A worker on another host keeps what its slots made. Somebody on this host who can't read such a value has it brought here
(`bring`), over the connection for values that the worker made; a worker elsewhere is told where it lies, and fetches it
itself if it can (nodes/suppliers.py). Owns: which worker has which value, these connections, what is on its way here.
Must not know: what is said on other links, who needs a value.

One version of a value counts. Where one was made again since its worker was lost, that is the one, and the worker is told
to let go of its own when it comes back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from twistcluster.net.addresses import Address, parse_address
from twistcluster.net.channel import Channel
from twistcluster.net.turn import Timer
from twistcluster.net.version import VERSION
from twistcluster.nodes.hosting import python_version
from twistcluster.nodes.logging import log_event
from twistcluster.nodes.storing import Storing
from twistcluster.nodes.values_line import Coming, Done, Missed, ValuesLine
from twistcluster.storage.values import ValueStore
from twistcluster.wire.limits import MAKER_BYTES, MIB
from twistcluster.wire.messages import Absent, At, Freed, Give, Hello, Renamed, Welcome

if TYPE_CHECKING:
    from twistcluster.net.tls.certificates import Peer

__all__ = ["RETURNING_S", "Holder", "Whereabouts"]

AHEAD: Final = 64
AHEAD_BYTES: Final = 16 * MIB
"""When a value is brought, so many that the same process made next are, too, of so many bytes together: who reads one reads
on, as a rule."""
RETURNING_S: Final = 10.0
"""How long a scheduler that was started again waits for workers to say what they have, before a value counts as lost."""


@dataclass(slots=True, eq=False)
class Holder:
    """A worker on another host."""

    link: Channel
    process: str
    port: int
    has: dict[bytes, int] = field(default_factory=dict)
    """Values that it made, or said to have, and their bytes (0: not known)."""
    named: set[bytes] = field(default_factory=set)
    """Values that it was told of, and may have fetched."""
    told: bool = False
    """It has said what it has from before it joined."""

    @property
    def address(self) -> str:
        """Where it hands out values; empty: nowhere."""
        return str(Address(parse_address(self.link.where).host, self.port)) if self.port else ""

    def may_have(self, name: bytes) -> bool:
        """Whether it is worth asking."""
        return name in self.has or name in self.named

    def let_go(self, names: Iterable[bytes]) -> None:
        """It shall forget these."""
        gone = [name for name in names if self.may_have(name)]
        for name in gone:
            self.has.pop(name, None)
            self.named.discard(name)
        if gone:
            self.link.send(Freed(gone))


@dataclass(slots=True, eq=False)
class _Wanted:
    coming: Coming
    holder: Holder
    done: list[Done] = field(default_factory=list)
    timer: Timer | None = None
    storing: bool = False

    def stop_waiting(self) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None


class Whereabouts:
    """Of one scheduler.

    Args:
        reactor: Twisted's.
        store: of this host.
        lost_after_s: how much silence is a loss; as long is waited for a worker to make its connection again.
        family: of a certificate's serial: that of the one which it took the place of.
        returning_s: how long workers may take to come back that had values before this scheduler was started.
    """

    def __init__(
        self,
        reactor: Any,
        store: ValueStore,
        lost_after_s: float,
        family: Callable[[str], str],
        returning_s: float,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._lost_after_s = lost_after_s
        self._family = family
        self._storing = Storing(reactor, store, self._make_room)
        self._holders: dict[str, Holder] = {}
        """By process."""
        self._at: dict[bytes, Holder] = {}
        """Values that this host doesn't have, and a worker that has them."""
        self._copies: dict[bytes, Holder] = {}
        """Values that are here and still with their workers, in the order in which they came."""
        self._remade: set[bytes] = set()
        """Values that were made again: who had them before has something else."""
        self._lines: dict[Channel, ValuesLine] = {}
        self._by_process: dict[str, ValuesLine] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._unsure: list[tuple[bytes, Done]] = []
        """Values that are asked for, and that a worker which has just joined, or is to come back, may say to have."""
        self._returning = reactor.callLater(returning_s, self._nobody_returns) if returning_s else None

    def close(self) -> None:
        """The cluster ends."""
        if self._returning is not None:
            self._returning.cancel()
            self._returning = None
        for link in self.links():
            link.close("the cluster ends")

    # ---- workers ----

    def joined(self, link: Channel, hello: Hello) -> Holder:
        """A worker on another host has come."""
        holder = self._holders[hello.process] = Holder(link, hello.process, hello.port)
        return holder

    def left(self, holder: Holder) -> None:
        """It is gone, and what it has with it, unless another has it, too. May be said twice."""
        if self._holders.get(holder.process) is holder:
            del self._holders[holder.process]
        for name in holder.has:
            if self._copies.get(name) is holder:
                del self._copies[name]
            if self._at.get(name) is holder:
                self._look_elsewhere(name)
        for wanted in [each for each in self._wanted.values() if each.holder is holder and not each.storing]:
            self._next_of(wanted)
        self._look_again()

    def made(self, holder: Holder, ids: Mapping[bytes, int]) -> None:
        """A worker has these, of so many bytes."""
        for name, nbytes in ids.items():
            holder.has[name] = nbytes
            self._at.setdefault(name, holder)

    def holds(self, holder: Holder, ids: Iterable[bytes], *, more: bool) -> None:
        """A worker that has joined has these still; `more`: it says more. Of what is here or elsewhere by now, that counts."""
        stale = []
        for name in ids:
            if name in self._remade or name in self._at or self._store.has(name):
                stale.append(name)
            else:
                self.made(holder, {name: 0})
        if stale:
            holder.link.send(Freed(stale))
        holder.told = not more
        self._look_again()

    def renamed(self, made: bytes, name: bytes) -> bool:
        """A value was made again and takes the old one's name; False: it is on this host."""
        self._remade.add(name)
        self._at.pop(name, None)
        self._copies.pop(name, None)
        holder = self._at.pop(made, None)
        for each in self._holders.values():
            if each is holder or each.may_have(name):
                each.link.send(Renamed(made, name))
            each.has.pop(name, None)
        if holder is None:
            return False
        holder.has[name] = holder.has.pop(made, 0)
        self._at[name] = holder
        return True

    def freed(self, ids: Iterable[bytes]) -> None:
        """Nobody can ask for these any more."""
        gone = frozenset(ids)
        self._remade -= gone
        for name in gone:
            self._at.pop(name, None)
            self._copies.pop(name, None)
            if (wanted := self._wanted.get(name)) is not None:
                self._settle(wanted, Missed())
        for holder in self._holders.values():
            holder.let_go(gone)
        self._store.freed(gone)  # of these, the copies that were made here

    # ---- bringing them here ----

    def bring(self, name: bytes, done: Done) -> None:
        """Have a value in this host's store; `done` is told whether it is there."""
        holder = self._holder_of(name)
        if holder is not None:
            self._fetch(name, holder).done.append(done)
            self._bring_ahead(name, holder)
        elif self._store.has(name):
            done(None)
        elif self._returning is None and all(each.told for each in self._holders.values()):
            done(Missed())
        else:
            self._unsure.append((name, done))

    def bring_all(self, ids: Sequence[bytes], done: Callable[[], None]) -> None:
        """Have these here, as far as they can be had; then call `done`."""
        missing = [(name, holder) for name in ids if (holder := self._at.get(name)) is not None]
        left = len(missing)
        if not left:
            done()
            return

        def one(_missed: Missed | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for name, holder in missing:
            self._fetch(name, holder).done.append(one)

    def hand_over(self, holder: Holder, done: Callable[[], None]) -> None:
        """A worker is about to leave: have all here that lies with it alone; then call `done`."""
        self.bring_all([name for name in holder.has if self._at.get(name) is holder], done)

    def _holder_of(self, name: bytes) -> Holder | None:
        """Who has it, or may have it, of what isn't here."""
        if (holder := self._at.get(name)) is not None:
            return holder
        other = next((each for each in self._holders.values() if name in each.named), None)
        return None if other is None or self._store.has(name) else other

    def _bring_ahead(self, name: bytes, holder: Holder) -> None:
        number = int.from_bytes(name[MAKER_BYTES:], "big")
        left = AHEAD_BYTES - holder.has.get(name, 0)
        for following in range(number + 1, number + 1 + AHEAD):
            near = name[:MAKER_BYTES] + (following % 2**64).to_bytes(8, "big")
            left -= holder.has.get(near, 0)
            if left < 0 or self._at.get(near) is not holder:
                break
            self._fetch(near, holder)

    def _look_elsewhere(self, name: bytes) -> None:
        """Another may have said that it has it."""
        other = next((each for each in self._holders.values() if name in each.has), None)
        if other is None:
            del self._at[name]
        else:
            self._at[name] = other

    def _next_of(self, wanted: _Wanted) -> None:
        """Who was asked for it doesn't have it: the next one, or it is nowhere."""
        wanted.stop_waiting()
        holder = self._holder_of(wanted.coming.name)
        if holder is None:
            self._settle(wanted, Missed())
        else:
            wanted.holder = holder
            self._ask(wanted)

    def _look_again(self) -> None:
        unsure, self._unsure = self._unsure, []
        for name, done in unsure:
            self.bring(name, done)

    def _nobody_returns(self) -> None:
        self._returning = None
        self._look_again()

    def _fetch(self, name: bytes, holder: Holder) -> _Wanted:
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = _Wanted(Coming(name), holder)
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
        if self._wanted.get(wanted.coming.name) is wanted:
            del self._wanted[wanted.coming.name]
        wanted.stop_waiting()
        waiting, wanted.done = wanted.done, []
        for done in waiting:
            done(missed)

    def _settled(self, _line: ValuesLine, coming: Coming, outcome: At | Absent | None) -> None:
        """A worker answered."""
        wanted = self._wanted.get(coming.name)
        if wanted is None or wanted.coming is not coming:
            return
        if outcome is None:
            wanted.storing = True
            self._storing.keep(coming.name, coming.pieces, coming.sizes, lambda missed: self._stored(wanted, missed))
            return
        wanted.holder.has.pop(coming.name, None)
        wanted.holder.named.discard(coming.name)
        if self._at.get(coming.name) is wanted.holder:
            self._look_elsewhere(coming.name)
        self._next_of(wanted)

    def _stored(self, wanted: _Wanted, missed: Missed | None) -> None:
        name, holder = wanted.coming.name, wanted.holder
        if missed is not None:
            log_event("warning", "a value from another host has no room in the store", {"why": missed.full})
        elif self._wanted.get(name) is not wanted:  # it was freed meanwhile
            self._store.freed([name])
        else:
            self._at.pop(name, None)
            if name in holder.has and self._holders.get(holder.process) is holder:
                self._copies[name] = holder
        self._settle(wanted, missed)

    def _make_room(self) -> bool:
        """Free the oldest copy that can be brought again."""
        if not self._copies:
            return False
        oldest = next(iter(self._copies))
        self._at[oldest] = self._copies.pop(oldest)
        self._store.freed([oldest])
        return True

    # ---- connections for values, which members make ----

    def connected(self, link: Any, hello: Hello) -> None:
        """A member's connection for values has come."""
        holder = self._holders.get(hello.process)
        line = ValuesLine(
            self._reactor,
            read=self._store.held,
            elsewhere=self._elsewhere,
            settled=self._settled,
            lost=lambda line, _reason, coming: self._line_lost(hello.process, line, coming),
            lost_after_s=self._lost_after_s,
        )
        self._lines[link] = line
        link.send(Welcome("", "", "", python_version(), VERSION))
        line.begin(link, taken=True)
        if holder is None:
            return  # a client's: it only asks
        if self._serial(link.peer) != self._serial(holder.link.peer):
            log_event("warning", "a member came for values under another's name", {"where": link.where})
            return
        self._by_process[hello.process] = line
        for wanted in self._wanted.values():
            if wanted.holder.process == hello.process and not wanted.storing:
                wanted.stop_waiting()
                line.ask(wanted.coming)

    def _serial(self, peer: "Peer | None") -> str:
        return "" if peer is None else self._family(peer.serial)

    def line(self, link: Channel) -> ValuesLine | None:
        """Of that link; None: it is no connection for values."""
        return self._lines.get(link)

    def lost(self, link: Channel, reason: str) -> None:
        """A link is gone, perhaps a connection for values."""
        line = self._lines.pop(link, None)
        if line is not None:
            line.on_lost(link, reason)

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

    def _elsewhere(self, line: ValuesLine, give: Give) -> None:
        """Somebody elsewhere asks for what isn't here."""
        asker = next((each for each in self._holders.values() if self._by_process.get(each.process) is line), None)
        if asker is not None and asker.may_have(give.id):  # it asks for it: so it doesn't have it
            asker.has.pop(give.id, None)
            asker.named.discard(give.id)
            if self._at.get(give.id) is asker:
                self._look_elsewhere(give.id)
        holder = self._holder_of(give.id)
        if asker is not None:
            asker.named.add(give.id)
        if holder is not None and holder.address and not give.through and give.id in holder.has:
            line.say(At(give.id, holder.address))
            return

        def fetched(missed: Missed | None) -> None:
            if missed is not None or not line.hand_out(give):
                line.say(Absent(give.id, "" if missed is None else missed.full))

        self.bring(give.id, fetched)
