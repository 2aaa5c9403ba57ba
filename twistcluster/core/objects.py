"""Values in stores, counted by who can still ask for them.

Whoever needs a value holds it: a page whose items are to run, a log entry, a client that made it or was told of it,
results that others wait for. What nobody holds at the end of a turn is freed: its maker hears that it may use the memory
again. While a value lives, the page with its item's arguments is kept as its recipe, so that it can be made again; what
those arguments name is kept too where it can't be made again itself, else only known.

Owns: these counts. Must not know: where a value lies, what it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from twistcluster.core.effects import Effect, Remove, RemoveCopies, Send
from twistcluster.errors import ProtocolError
from twistcluster.wire.messages import Freed, Stored

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job, PageRecord

__all__ = ["ObjectRecord", "Objects", "Sender", "argument_of"]


ID_BYTES = 16


class Sender(NamedTuple):
    """The client that a value came from, for people."""

    client: str
    how: str
    """What the client did."""
    at: float | None = None
    """When it came; None: an earlier scheduler was told."""


def argument_of(title: str) -> str:
    """How a client sent a value that stands in a page of a job."""
    return f"sent as an argument of {title}"


@dataclass(slots=True, eq=False)
class ObjectRecord:
    """One value."""

    id: bytes
    nbytes: int
    home: int | None
    """The peer that made it; None once that is gone: its host's store has it still."""
    job: "Job | None"
    index: int
    """The item whose result it is."""
    users: int = 0
    """Who needs the value itself."""
    pins: int = 0
    """Recipes that name it: it can be made again as long as there are some."""
    remade: int = 0
    """How often it was lost and made again, each time soon after the last."""
    remade_at: float = -inf
    """When it was made again last."""
    freed: bool = False
    """Its maker may have used the memory again."""
    copied: bool = False
    """It is on the disk beside the journal, too."""
    sender: Sender | None = None
    """Of what is no item's result."""


class Objects:
    """The values of one cluster."""

    __slots__ = ("_by_home", "_effects", "_freed", "_records", "_unused", "nbytes")

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._records: dict[bytes, ObjectRecord] = {}
        self._by_home: dict[int, dict[bytes, None]] = {}
        self._unused: dict[bytes, None] = {}
        self._freed: dict[int | None, list[bytes]] = {}
        self.nbytes = 0
        """Of all values that somebody holds."""

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ObjectRecord]:
        return iter(self._records.values())

    def get(self, name: bytes) -> ObjectRecord | None:
        """What is known of a value."""
        return self._records.get(name)

    def counted(self, name: bytes) -> bool:
        """Whether somebody may ask for it. The one question here that another thread may ask."""
        record = self._records.get(name)
        return record is not None and not record.freed

    def made(
        self,
        peer: int | None,
        stored: Iterable[Stored],
        job: "Job | None" = None,
        first: int = 0,
        sender: Sender | None = None,
    ) -> None:
        """A peer named these; those that aren't known yet it made, as the results of a job's items from `first` on."""
        for each in stored:
            if each.id in self._records:
                continue
            record = ObjectRecord(each.id, each.nbytes, peer, job, first + each.item, sender=sender)
            self._records[each.id] = record
            self._unused[each.id] = None
            self.nbytes += each.nbytes
            if peer is not None:
                self._by_home.setdefault(peer, {})[each.id] = None
            if job is not None:
                job.keep_recipe(record.index)

    @staticmethod
    def check(stored: Iterable[Stored], count: int) -> None:
        """Raise ProtocolError unless these can be values of `count` items."""
        for each in stored:
            if not 0 <= each.item < count or len(each.id) != ID_BYTES or each.nbytes < 0:
                raise ProtocolError(f"value {each.id.hex()} of {each.nbytes} bytes, item {each.item} of {count}")

    def hold(self, stored: Iterable[Stored]) -> None:
        """One more needs these."""
        for each in stored:
            self._records[each.id].users += 1

    def release(self, stored: Iterable[Stored]) -> None:
        """One needs these no more."""
        self.release_ids(each.id for each in stored)

    def release_ids(self, ids: Iterable[bytes]) -> None:
        """The same, by their ids."""
        for name in ids:
            record = self._records[name]
            record.users -= 1
            if not record.users:
                self._unused[name] = None

    def pin(self, stored: Iterable[Stored]) -> None:
        """A recipe names these: what can be made again is only known for it, what can't is held."""
        for each in stored:
            record = self._records[each.id]
            if record.job is None:
                record.users += 1
            else:
                record.pins += 1

    def unpin(self, stored: Iterable[Stored]) -> None:
        """That recipe is gone."""
        for each in stored:
            record = self._records[each.id]
            if record.job is None:
                record.users -= 1
            else:
                record.pins -= 1
            if not record.users:
                self._unused[each.id] = None

    # ---- pages: first their items are to run, then they are recipes ----

    def done_with(self, page: "PageRecord", *, kept: bool) -> None:
        """No item of a page is to run; whether it is `kept` as a recipe, or gone."""
        if not page.message.objects:
            return
        if not page.pinned:
            for each in page.message.objects:
                record = self._records[each.id]
                if record.job is None and kept:
                    continue  # it can't be made again
                record.users -= 1
                record.pins += kept
                if not record.users:
                    self._unused[each.id] = None
            page.pinned = kept
        elif not kept:
            self.unpin(page.message.objects)
            page.pinned = False

    def restored(self, record: ObjectRecord, peer: int, made: bytes) -> None:
        """A value is there again: what a peer made under another name was given this one. The node removes it."""
        if record.home is not None:
            self._by_home[record.home].pop(record.id, None)
            record.home = None
        if record.freed:
            record.freed = False
            self.nbytes += record.nbytes
        self._unused[record.id] = None
        self._freed.setdefault(peer, []).append(made)

    def refuse(self, peer: int, stored: Iterable[Stored]) -> None:
        """A peer made these for nobody: another's results were taken before."""
        for each in stored:
            if each.id not in self._records:
                self._freed.setdefault(peer, []).append(each.id)

    def gone(self, peer: int) -> None:
        """A peer is gone; what it made stays in its host's store."""
        for name in self._by_home.pop(peer, {}):
            self._records[name].home = None
        self._freed.pop(peer, None)

    def settle(self) -> "list[Job]":
        """The turn ends: free what nobody holds. Returns the jobs of which nothing is needed as a recipe any more."""
        spent: dict[Job, None] = {}
        copies: list[bytes] = []
        while self._unused:
            name, _ = self._unused.popitem()
            record = self._records.get(name)
            if record is None or record.users:
                continue
            if not record.freed:
                record.freed = True
                self.nbytes -= record.nbytes
                if record.copied:
                    record.copied = False
                    copies.append(name)
                self._freed.setdefault(record.home, []).append(name)
                if record.home is not None:
                    self._by_home[record.home].pop(name, None)
            if record.pins:
                continue
            del self._records[name]
            if record.job is not None:
                page = record.job.drop_recipe(record.index)
                if page is not None:
                    self.done_with(page, kept=False)
                for kept in (record.job.kept_inputs or {}).pop(record.index, ()):
                    self.unpin(kept.objects)
                if not record.job.recipes:
                    spent[record.job] = None
        for home, ids in self._freed.items():
            self._effects.append(Remove(ids) if home is None else Send(home, Freed(ids)))
        self._freed.clear()
        if copies:
            self._effects.append(RemoveCopies(copies))
        return [*spent]
