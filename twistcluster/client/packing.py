"""From items to pages: in one go, or pulled from a lazy source ahead of what is finished.

Owns: how many items make a page, and the threads that pull a source. Must not know: jobs, links; pages are handed to a
callback.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from twistcluster.client.passing import UNLIMITED
from twistcluster.client.references import Collector, Met
from twistcluster.client.shares import FIRST_ITEMS
from twistcluster.errors import NotPicklable, StoreFull
from twistcluster.storage.values import Row, ValueStore, encode, is_large
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.limits import PAGE_BYTES, PAGE_ITEMS, PAGE_STORED_BYTES, PULL_AHEAD_BYTES
from twistcluster.wire.pages import ARGS, ONE, PLAIN_TYPES, FramedPacker, Packed, pack_plain

__all__ = ["PagePacker", "Puller", "plain_pages"]

GROWTH: Final = 4
"""Blocks of items that are taken from a source at a time grow by this factor, so that large or slow items aren't hoarded."""
BLOCK_BYTES: Final = 4 * PAGE_BYTES
BLOCK_SECONDS: Final = 0.02
"""A block shall not take longer to pull; what was pulled when it does is handed on."""
STEP: Final = 64
"""So many items of a block are taken between two looks at the clock: large ones may come after thousands of small ones."""
FIRST_SECONDS: Final = 0.25
ITEM_BYTES: Final = 32
"""What an item costs beside its own bytes, counted when a source is pulled ahead."""


def plain_pages(values: list[Any], shape: int = ONE) -> Iterator[Packed]:
    """Pack plain values into pages of at most `PAGE_ITEMS` items, and of about `PAGE_BYTES`."""
    for start in range(0, len(values), PAGE_ITEMS):
        part = values if len(values) <= PAGE_ITEMS else values[start : start + PAGE_ITEMS]
        packed = pack_plain(part, shape)
        if packed.nbytes > 2 * PAGE_BYTES and len(part) > 1:  # long strings: as many as fit on average
            step = max(1, len(part) * PAGE_BYTES // packed.nbytes)
            for at in range(0, len(part), step):
                yield pack_plain(part[at : at + step], shape)
        else:
            yield packed


class _Held(NamedTuple):
    """An item that was pickled when it came."""

    row: Row | None
    met: Met | None = None
    error: Exception | None = None


class PagePacker:
    """Packs items of one shape (`ONE` or `ARGS`) into pages.

    Args:
        shape: Whether an item is one argument or a tuple of them.
        definitions: This process's book.
        also: Digests of definitions that every page shall name beside those of its items (the function's).
        references: What stands for the futures, jobs and references in the items.
        store: The host's, for large items.
    """

    def __init__(
        self,
        shape: int,
        definitions: Definitions,
        also: tuple[bytes, ...] = (),
        references: Collector | None = None,
        store: ValueStore | None = None,
    ) -> None:
        self.count = 0
        """Items packed so far."""
        self.nbytes = 0
        self._shape = shape
        self._definitions = definitions
        self._store = store
        self.also = also
        self._references = references
        self._block = 1
        self._holds = False

    def pages(self, items: Iterable[Any]) -> Iterator[Packed]:
        """Yield the pages of all these items, each as soon as it is full.

        Raises:
            NotPicklable: An item can't travel; those before it were yielded.
        """
        iterator = iter(items)
        while block := list(islice(iterator, self._block)):
            yield from self.pack(block)

    def pack(self, items: list[Any]) -> Iterator[Packed]:
        """Yield the pages of these items."""
        before = self.count, self.nbytes
        for packed in plain_pages(items, self._shape) if self._plain(items) else self._framed(items):
            self.count += packed.count
            self.nbytes += packed.nbytes
            yield replace(packed, definitions=self._named(packed)) if self.also else packed
        mean = (self.nbytes - before[1]) / max(1, self.count - before[0])
        self._block = max(1, min(self._block * GROWTH, PAGE_ITEMS, int(BLOCK_BYTES / max(1, mean))))

    def fixer(self, lock: threading.Lock) -> Callable[[Any], Any]:
        """What makes an item such that it can't change, whatever its source does. `lock` is held by who packs."""
        plain, several = PLAIN_TYPES, self._shape == ARGS

        def fixed(item: Any) -> Any:
            if plain.issuperset(map(type, item)) if several else type(item) in plain:
                return item
            with lock:
                return self.hold(item)

        return fixed

    def hold(self, item: Any) -> Any:
        """What to `pack` in the place of an item that may change before: its pickle. An error is raised by `pack`."""
        references = self._references
        self._holds = True
        try:
            row = encode(item, self._definitions, self._store, name="item", references=references)
        except Exception as error:
            return _Held(None, error=error)
        return _Held(row, references.take() if references is not None and references.expected else None)

    def let_go(self, items: list[Any]) -> None:
        """These, which are held, won't be packed."""
        if self._store is not None:
            held = (item.row.stored for item in items if type(item) is _Held and item.row is not None)
            self._store.freed([stored[0] for stored in held if stored is not None])

    @property
    def block_items(self) -> int:
        """How many items to take at a time, as far as their bytes matter."""
        return self._block

    def _plain(self, items: list[Any]) -> bool:
        if self._holds and _Held in map(type, items):
            return False
        parts = [*chain.from_iterable(items)] if self._shape == ARGS else items
        types = {*map(type, parts)}
        if not PLAIN_TYPES.issuperset(types):
            return False
        return types.isdisjoint((bytes, str)) or not any(map(is_large, parts))

    def _framed(self, items: list[Any]) -> Iterator[Packed]:
        packer = FramedPacker()
        named: dict[bytes, None] = {}
        references = self._references
        for index, item in enumerate(items, self.count):
            try:
                row = self._row(item)
                met = references is not None and references.expected
                if packer.count and (
                    packer.nbytes + len(row.data) > PAGE_BYTES
                    or packer.stored_nbytes > PAGE_STORED_BYTES
                    or packer.full(len(row.buffers))
                    or (met and self._crowded())
                ):
                    yield self._page(packer, named)
                    packer, named = FramedPacker(), {}
                if references is not None and met:
                    references.item(index, packer.count)
            except Exception as error:
                if packer.count:
                    yield self._page(packer, named)
                if isinstance(error, NotPicklable | StoreFull):
                    raise type(error)(f"Item {index} can't be sent: {error}") from error.__cause__
                raise
            packer.add(row.data, row.buffers, row.stored)
            if row.definitions:
                named.update(dict.fromkeys(row.definitions))
        if packer.count:
            yield self._page(packer, named)

    def _row(self, item: Any) -> Row:
        references = self._references
        if type(item) is not _Held:
            return encode(item, self._definitions, self._store, name="item", references=references)
        if item.error is not None:
            raise item.error
        assert item.row is not None
        if references is not None:
            if item.met is not None:
                references.put_back(item.met)
            else:
                references.begin()  # what was met before is another's
        return item.row

    def _crowded(self) -> bool:
        return self._references is not None and self._references.crowds()

    def _page(self, packer: FramedPacker, named: dict[bytes, None]) -> Packed:
        packed = packer.packed(self._shape, tuple(named))
        self.nbytes += sum(each.nbytes for each in packed.objects)  # of references: they are there anyway
        return packed if self._references is None else self._references.page(packed)

    def _named(self, packed: Packed) -> tuple[bytes, ...]:
        return tuple(dict.fromkeys((*self.also, *packed.definitions)))


class Puller:
    """Pulls a lazy source in a thread of its own, ahead of what is finished.

    An item that could change is pickled at once, before the next one is pulled: some sources fill the same array again.
    A second thread hands on what a slow source has given so far: an item that was pulled never waits for the next one.
    Both are daemons, as a source may block for ever.

    Args:
        items: The source.
        packer: Packs what it gives.
        on_page: Called with each page, in order, in a thread of the puller.
        on_end: Called once, after the last page, with the number of items and the error that ended the source early, if
            one did. Not called after `stop`.
        ahead_bytes: How far to pull ahead.
        room: How many more items may be pulled, from the number of those that aren't finished. After a change of that,
            `finished` is called.
        first_items: How many are pulled before anything is finished; twice as many after each quarter of a second.
    """

    lazy: Final = True

    def __init__(
        self,
        items: Iterable[Any],
        packer: PagePacker,
        on_page: Callable[[Packed], None],
        on_end: Callable[[int, BaseException | None], None],
        ahead_bytes: int = PULL_AHEAD_BYTES,
        room: Callable[[int], int] = lambda _: UNLIMITED,
        first_items: int = FIRST_ITEMS,
    ) -> None:
        self._items = items
        self._packer = packer
        self._on_page = on_page
        self._on_end = on_end
        self._ahead_bytes = ahead_bytes
        self._room = room
        self._first_items = first_items
        self._finished = 0
        self._stopped = False
        self._over = False
        self._pulling = True
        self._failed: BaseException | None = None
        self._began = time.monotonic()
        self._pulled: deque[Any] = deque()
        self._marks: deque[tuple[int, int]] = deque()
        """Of each page that isn't finished: the items up to its end, and their bytes."""
        self._passed = (0, 0)
        """The last mark behind which something isn't finished."""
        self._handing = threading.Lock()  # held while pages are packed and handed on: it keeps their order
        self._changed = threading.Condition()

    def start(self) -> None:
        """Begin to pull."""
        threading.Thread(target=self._pull, name="twistcluster-pull", daemon=True).start()
        threading.Thread(target=self._watch, name="twistcluster-pull-watch", daemon=True).start()

    def finished(self, items: int) -> None:
        """So many more items are finished (or cancelled): as much more may be pulled."""
        with self._changed:
            self._finished += items
            self._changed.notify_all()

    def stop(self) -> None:
        """Pull nothing more, and hand nothing on. Returns at once; a source that blocks is left alone."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _pull(self) -> None:
        error: BaseException | None = None
        block = 1
        fixed = self._packer.fixer(self._handing)  # some sources fill the same array again and again
        self._began = time.monotonic()
        try:
            iterator = chain(self._items)  # a zip that has ended would ask its first source again, which may block
            self._items = ()  # the iterator holds what it needs
            while room := self._may_pull():
                block = min(block * GROWTH, self._packer.block_items, room)
                began = time.perf_counter()
                self._pulled.append(fixed(next(iterator)))
                for step in range(1, block, STEP):
                    self._pulled.extend(map(fixed, islice(iterator, min(STEP, block - step))))
                    if time.perf_counter() - began > BLOCK_SECONDS:
                        break
                self._hand_on(mine=True)
                if self._failed is not None:
                    break
                taken = time.perf_counter() - began
                if taken > BLOCK_SECONDS:
                    block = max(1, int(block * BLOCK_SECONDS / taken) // GROWTH)
                time.sleep(0)  # let go of the interpreter: the reactor's turn
        except StopIteration:
            pass
        except BaseException as raised:
            error = raised
        self._end(error)

    def _may_pull(self) -> int:
        """How many items; waits for it. 0: none any more."""
        with self._changed:
            while not self._stopped:
                room = self._items_ahead()
                if room > 0:
                    break
                few = not self._finished and self._ahead() < self._ahead_bytes
                self._pulling = few
                self._changed.wait(FIRST_SECONDS if few else None)
            if not self._pulling:
                self._pulling = True
                self._changed.notify_all()
            return 0 if self._stopped else room

    def _items_ahead(self) -> int:
        """How many more items may be pulled now.

        As long as nothing is finished it isn't known how large results are: few at first, then ever more.
        """
        if self._ahead() >= self._ahead_bytes:
            return 0
        count = self._packer.count
        if not self._finished:
            first = self._first_items << min(int((time.monotonic() - self._began) / FIRST_SECONDS), 50)
            # Else the first results say how large they are before that matters.
            return min(first - count, self._room(count)) if self._first_items < FIRST_ITEMS else first - count
        return self._room(count - self._finished)

    def _ahead(self) -> float:
        """Bytes of items that aren't finished, as if they finished in order; items of one page count as equally large.

        Not by the mean of all that was pulled: large items behind a million small ones would hardly count.
        """
        packer, marks, finished = self._packer, self._marks, self._finished
        while marks and marks[0][0] <= finished:
            self._passed = marks.popleft()
        items, nbytes = self._passed
        if not marks:
            return 0
        share = (finished - items) / (marks[0][0] - items)
        done = nbytes + share * (marks[0][1] - nbytes)
        return packer.nbytes - done + ITEM_BYTES * (packer.count - finished)

    def _hand_on(self, *, mine: bool) -> None:
        with self._handing:
            if mine:  # nobody adds meanwhile
                items = list(self._pulled)
                self._pulled.clear()
            else:
                items = [self._pulled.popleft() for _ in range(len(self._pulled))]
            unwanted = self._failed is not None or self._stopped
            if unwanted:
                self._packer.let_go(items)
            if unwanted or not items:
                return
            try:
                for page in self._packer.pack(items):
                    if self._stopped:
                        return
                    self._marks.append((self._packer.count, self._packer.nbytes))
                    self._on_page(page)
            except BaseException as error:
                self._failed = error

    def _watch(self) -> None:
        while not self._over and not self._stopped:
            if self._pulled:
                self._hand_on(mine=False)
            with self._changed:
                self._changed.wait(BLOCK_SECONDS if self._pulling else None)

    def _end(self, error: BaseException | None) -> None:
        self._hand_on(mine=True)
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if not self._stopped:
            self._on_end(self._packer.count, self._failed or error)
