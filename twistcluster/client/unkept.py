"""What was sent of jobs and isn't in the cluster's journal yet: should the link be lost, it is offered again.

Owns: that, by the jobs' numbers. Must not know: links, in which order it is said.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twistcluster.wire.messages import CloseJob, OpenJob
from twistcluster.wire.pages import Packed

if TYPE_CHECKING:
    from twistcluster.client.outbox import Parts

__all__ = ["NO_JOURNAL", "Book", "Unkept"]

NO_JOURNAL = 'this cluster keeps nothing: it has no journal. Give it a name, as in tc.Cluster("lab"), and no store=None'


class Book:
    """Of one job."""

    __slots__ = ("cancels", "closed", "message", "over", "pages", "parts", "retried")

    def __init__(self, message: OpenJob | None = None, parts: "Sequence[Parts]" = ()) -> None:
        self.message = message
        """None: the job is kept."""
        self.parts = parts
        self.pages: dict[int, Packed] = {}
        """By their first items; in order."""
        self.closed: CloseJob | None = None
        self.cancels: list[tuple[int, int | None]] = []
        self.retried = False
        self.over = False

    @property
    def done_with(self) -> bool:
        """Nothing of it need be said again."""
        return self.over and self.message is None and not self.pages


class Unkept:
    """Of all jobs of one session. On the reactor's thread."""

    def __init__(self) -> None:
        self.on = False
        """Whether the cluster has a journal; without one nothing comes back, and nothing is held here."""
        self.books: dict[int, Book] = {}

    def opened(self, message: OpenJob, parts: "Sequence[Parts]") -> None:
        """A job was opened."""
        if self.on:
            self.books[message.job] = Book(message, parts)

    def page(self, number: int, first: int, packed: Packed) -> None:
        """Items of a job were sent."""
        book = self.books.get(number)
        if book is not None:
            book.pages[first] = packed

    def closed(self, message: CloseJob) -> None:
        """No more items come."""
        book = self.books.get(message.job)
        if book is not None:
            book.closed = message

    def cancelled(self, number: int, start: int, stop: int | None) -> None:
        """Items shall not run."""
        if self.on:
            self.books.setdefault(number, Book()).cancels.append((start, stop))

    def retried(self, number: int) -> None:
        """Failed items shall run again."""
        if self.on:
            book = self.books.setdefault(number, Book())
            book.retried, book.over = True, False

    def kept(self, number: int, items: int, *, whole: bool = False) -> None:
        """The journal has a job, and so many of its items; the `whole` job, with what became of it."""
        book = self.books.get(number)
        if book is None:
            return
        if whole and book.over:
            del self.books[number]
            return
        book.message, book.parts = None, ()
        for first in [first for first, packed in book.pages.items() if first + packed.count <= items]:
            del book.pages[first]
        if book.done_with:
            del self.books[number]

    def over(self, number: int) -> None:
        """What became of all of a job's items is known here."""
        book = self.books.get(number)
        if book is not None:
            book.over, book.retried = True, False
            if book.done_with:
                del self.books[number]

    def released(self, number: int) -> None:
        """Nobody here asks for a job any more."""
        self.books.pop(number, None)
