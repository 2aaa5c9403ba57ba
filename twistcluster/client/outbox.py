"""What a client sends: jobs, with all that they name ahead of them.

On the reactor's thread. Owns: the order of things on the link. Must not know: who asked, what comes back.
"""

from collections.abc import Mapping, Sequence

from twistcluster.client.ledger import Ledger
from twistcluster.client.unkept import Unkept
from twistcluster.net.channel import Channel
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Blob,
    Cancel,
    CloseJob,
    Context,
    ErrorInfo,
    Failed,
    Forget,
    Message,
    OpenJob,
    Page,
    Release,
    Results,
    Retry,
    Values,
)
from twistcluster.wire.pages import PLAIN, Packed, kind_of
from twistcluster.wire.values import Definitions

__all__ = ["Outbox", "Parts"]


class Parts:
    """A context, and the blobs of all that it and a function are made of, by digest."""

    __slots__ = ("blobs", "context")

    def __init__(self, context: Context, blobs: Mapping[bytes, bytes]) -> None:
        self.context = context
        self.blobs = dict(blobs)


class Outbox:
    """The sending half of a session.

    While there is no link, what must not be lost is noted only (unkept.py), and the rest dropped.

    Args:
        definitions: Where the blobs of class definitions are.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._link: Channel | None = None
        self._ledger = Ledger()
        self._contexts: set[bytes] = set()
        self._ended: set[int] = set()
        self.unkept = Unkept()

    @property
    def attached(self) -> bool:
        """Whether there is a link."""
        return self._link is not None

    def attach(self, link: Channel) -> None:
        """A link whose other end knows nothing of what was sent before."""
        self._link = link
        self._ledger = Ledger()
        self._contexts = set()

    def detach(self) -> None:
        """The link is gone."""
        self._link = None

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Say what names nothing, and isn't worth saying later."""
        self._say(message, tuple(buffers))

    def parts(self, parts: Parts) -> None:
        """Send what the peer hasn't of these."""
        if self._link is None:
            return
        ledger = self._ledger
        context = parts.context
        for digest, blob in parts.blobs.items():
            self._blob(digest, blob)
        if context.digest in ledger:
            ledger.used(context.digest)
        else:
            self._say(context)
            ledger.sent(context.digest, 0)
            self._contexts.add(context.digest)
        gone = ledger.excess([*parts.blobs, context.digest])
        if gone:
            # A context that is named again must find all its blobs: so the others go too.
            gone += [other for other in self._contexts if other != context.digest and ledger.forget(other)]
            self._contexts = {context.digest}
            self._say(Forget(gone))

    def job(self, message: OpenJob, parts: Sequence[Parts]) -> None:
        """Open a job; the last of the parts has its context."""
        self.unkept.opened(message, parts)
        self._open(message, parts)

    def page(self, number: int, first: int, packed: Packed) -> None:
        """The next items of a job."""
        if number in self._ended:
            return
        self.unkept.page(number, first, packed)
        self._page(number, first, packed)

    def close_job(self, message: CloseJob) -> None:
        """No more items come."""
        self.unkept.closed(message)
        self._say(message)

    def cancel(self, number: int, start: int, stop: int | None) -> None:
        """Items of a job shall not start; `stop` None: nor any that are on their way from here."""
        if stop is None:
            self._ended.add(number)
        self.unkept.cancelled(number, start, stop)
        self._say(Cancel(number, start, stop))

    def retry(self, number: int) -> None:
        """The failed items of a job again."""
        self.unkept.retried(number)
        self._say(Retry(number))

    def over(self, number: int) -> None:
        """Nothing more is said of a job."""
        self._ended.discard(number)
        self.unkept.over(number)

    def release(self, number: int) -> None:
        """Nobody here asks for a job any more."""
        self.unkept.released(number)
        self._say(Release(number))

    def offer(self, known: Mapping[int, int], highest: int) -> list[int]:
        """Say again what the other end doesn't know: of these jobs it has so many items, of others nothing.

        Returns the jobs that it knew once, and knows no more.
        """
        gone = []
        for number, book in sorted(self.unkept.books.items()):
            items = known.get(number)
            if items is None:
                if book.message is None or number <= highest:
                    gone.append(number)
                    continue
                self._open(book.message, book.parts)
                items = 0
            for first, packed in book.pages.items():
                if first >= items:
                    self._page(number, first, packed)
            if book.closed is not None:
                self._say(book.closed)
            for start, stop in book.cancels:
                self._say(Cancel(number, start, stop))
            if book.retried:
                self._say(Retry(number))
        for number in gone:
            self.unkept.released(number)
        return gone

    def values(self, number: int, first: int, packed: Packed) -> None:
        """Results of a job that others of its client's wait for."""
        message = Values(number, first, packed.count, packed.kind, self._defined(packed), list(packed.objects))
        self._say(message, packed.buffers)

    def no_values(self, number: int, start: int, stop: int, *, cancelled: bool = False) -> None:
        """They are held no more; if they were `cancelled` here, so is what waits for them."""
        self._say(Values(number, start, stop - start, kind_of(PLAIN), cancelled=cancelled))

    def results(self, number: int, first: int, packed: Packed) -> None:
        """What came of items, to a scheduler that doesn't know it any more."""
        message = Results(number, first, packed.count, packed.kind, self._defined(packed), list(packed.objects))
        self._say(message, packed.buffers)

    def failed(self, number: int, index: int, error: ErrorInfo, buffers: Sequence[Buffer]) -> None:
        """The same of one that failed."""
        self._say(Failed(number, index, error), tuple(buffers))

    def _open(self, message: OpenJob, parts: Sequence[Parts]) -> None:
        for each in parts:
            self.parts(each)
        self._say(message)

    def _page(self, number: int, first: int, packed: Packed) -> None:
        objects, edges = list(packed.objects), list(packed.edges)
        message = Page(number, first, packed.count, packed.kind, self._defined(packed), objects, edges)
        self._say(message, packed.buffers)

    def _defined(self, packed: Packed) -> list[bytes]:
        """The definitions that a page names, after they were sent."""
        if self._link is not None:
            for digest in packed.definitions:
                self._blob(digest, self._definitions.blob(digest))
        return list(packed.definitions)

    def _blob(self, digest: bytes, blob: bytes) -> None:
        if digest in self._ledger:
            self._ledger.used(digest)
        else:
            self._say(Blob(digest), (blob,))
            self._ledger.sent(digest, len(blob))

    def _say(self, message: Message, buffers: tuple[Buffer, ...] = ()) -> None:
        if self._link is not None:
            self._link.send(message, buffers)
