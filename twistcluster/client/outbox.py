"""What a client sends: jobs, with all that they name ahead of them.

On the reactor's thread. Owns: the order of things on the link. Must not know: who asked, what comes back.
"""

from collections.abc import Mapping

from twistcluster.client.ledger import Ledger
from twistcluster.net.channel import Channel
from twistcluster.wire.messages import Blob, Cancel, Context, Forget, Message, OpenJob, Page, Values
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

    Args:
        link: To the scheduler.
        definitions: Where the blobs of class definitions are.
    """

    def __init__(self, link: Channel, definitions: Definitions) -> None:
        self._link = link
        self._definitions = definitions
        self._ledger = Ledger()
        self._contexts: set[bytes] = set()
        self._ended: set[int] = set()

    def send(self, message: Message) -> None:
        """Say what names nothing."""
        self._link.send(message)

    def parts(self, parts: Parts) -> None:
        """Send what the peer hasn't of these."""
        ledger = self._ledger
        context = parts.context
        for digest, blob in parts.blobs.items():
            self._blob(digest, blob)
        if context.digest in ledger:
            ledger.used(context.digest)
        else:
            self._link.send(context)
            ledger.sent(context.digest, 0)
            self._contexts.add(context.digest)
        gone = ledger.excess([*parts.blobs, context.digest])
        if gone:
            # A context that is named again must find all its blobs: so the others go too.
            gone += [other for other in self._contexts if other != context.digest and ledger.forget(other)]
            self._contexts = {context.digest}
            self._link.send(Forget(gone))

    def job(self, message: OpenJob, parts: Parts) -> None:
        """Open a job."""
        self.parts(parts)
        self._link.send(message)

    def cancel(self, number: int, start: int, stop: int | None) -> None:
        """Items of a job shall not start; `stop` None: nor any that are on their way from here."""
        if stop is None:
            self._ended.add(number)
        self._link.send(Cancel(number, start, stop))

    def over(self, number: int) -> None:
        """Nothing more is said of a job."""
        self._ended.discard(number)

    def page(self, number: int, first: int, packed: Packed) -> None:
        """The next items of a job."""
        if number in self._ended:
            return
        for digest in packed.definitions:
            self._blob(digest, self._definitions.blob(digest))
        definitions, objects, edges = list(packed.definitions), list(packed.objects), list(packed.edges)
        message = Page(number, first, packed.count, packed.kind, definitions, objects, edges)
        self._link.send(message, packed.buffers)

    def values(self, number: int, first: int, packed: Packed) -> None:
        """Results of a job that others of its client's wait for."""
        for digest in packed.definitions:
            self._blob(digest, self._definitions.blob(digest))
        definitions, objects = list(packed.definitions), list(packed.objects)
        self._link.send(Values(number, first, packed.count, packed.kind, definitions, objects), packed.buffers)

    def no_values(self, number: int, start: int, stop: int, *, cancelled: bool = False) -> None:
        """They are held no more; if they were `cancelled` here, so is what waits for them."""
        self._link.send(Values(number, start, stop - start, kind_of(PLAIN), cancelled=cancelled))

    def _blob(self, digest: bytes, blob: bytes) -> None:
        if digest in self._ledger:
            self._ledger.used(digest)
        else:
            self._link.send(Blob(digest), (blob,))
            self._ledger.sent(digest, len(blob))
