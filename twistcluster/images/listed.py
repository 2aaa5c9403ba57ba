"""What is known of a job's sources by number, in blocks of memory: ten million of them cost no ten million objects.

Owns: names, folders, stamps and kinds of the sources that one run listed. Later questions (a table, a gallery, the first
`save`) are about those, whatever the disk says then. Must not know: how they were listed, what becomes of them.
"""

import contextlib
from array import array
from typing import Final

from twistcluster.errors import PictureError
from twistcluster.images.source import File, Given, Item, Member, Source, Url, is_theirs, proof_of, unreadable

__all__ = ["Blocks", "Listed"]

PATH: Final = 1
"""A file of this program's."""
ADDRESS: Final = 2
OTHER: Final = 0


class Blocks:
    """Bytes by number, one behind the other.

    >>> blocks = Blocks()
    >>> blocks.add(b"one"); blocks.add(b"")
    >>> blocks[0], blocks[1], len(blocks)
    (b'one', b'', 2)
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q")

    def add(self, data: bytes) -> None:
        """The next one."""
        self._bytes += data
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        return bytes(self._bytes[start : self._ends[index]])


class Listed:
    """The sources of one job, as they were when it was opened.

    Args:
        contents: Whether to make stamps of bytes, images and arrays too, which reads all of each: about a millisecond for a
            megabyte. What is only recognised, or looked at, does without.
    """

    def __init__(self, *, contents: bool = False) -> None:
        self._contents = contents
        self._names = Blocks()
        self._stamps = Blocks()
        self._folders = array("L")
        self._kinds = bytearray()
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []
        self._members: dict[int, Member] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, item: Item) -> None:
        """The next one."""
        source = item.source
        self._names.add(_encoded(source.name))
        if source.folder not in self._numbers:
            self._numbers[source.folder] = len(self._texts)
            self._texts.append(source.folder)
        self._folders.append(self._numbers[source.folder])
        stamp = b""
        known = self._contents or not isinstance(source, Given) or source.given_stamp
        if known and not is_theirs(source):  # of what is theirs the worker that opens it can tell
            with contextlib.suppress(PictureError):  # its item will say so
                stamp = source.stamp()
        self._stamps.add(stamp)
        if isinstance(source, Member) and source.archive.proof is not None:
            self._members[item.number] = source
        is_path = isinstance(source, File) and source.proof is not None
        self._kinds.append(PATH if is_path else ADDRESS if isinstance(source, Url) else OTHER)

    def name(self, index: int) -> str:
        """What it is called; empty: it has no name."""
        return self._names[index].decode("utf-8", "surrogateescape") if index < len(self) else ""

    def folder(self, index: int) -> str:
        """Where it lay, relative to where the listing began."""
        return self._texts[self._folders[index]]

    def stamp(self, index: int) -> bytes:
        """What stands for it; empty: nothing is known that could."""
        return self._stamps[index]

    def is_address(self, index: int) -> bool:
        """Whether it is on the web."""
        return self._kinds[index] == ADDRESS

    def place_in_name(self, index: int) -> int:
        """How many of the same name come before it."""
        name = self._names[index]
        return sum(self._names[other] == name for other in range(index))

    def as_it_was(self, index: int) -> Source | None:
        """One that lies on this program's disk, with its bytes; None: it doesn't lie there.

        Raises:
            PictureError: It can't be read, or isn't what was listed.
        """
        source = self._members.get(index)
        if source is None and self._kinds[index] != PATH:
            return None
        try:
            proof = proof_of(self.name(index) if source is None else source.archive.path)
        except (OSError, ValueError) as error:
            raise unreadable(self.name(index), error) from error
        now = File(self.name(index), proof) if source is None else source.of(proof)
        self.check(index, now)
        return self.sent(index)

    def check(self, index: int, source: Source) -> None:
        """Raise the PictureError of a source of this name that isn't what was listed."""
        then = self.stamp(index)
        now = source.stamp() if then else b""
        if now and now != then:
            raise PictureError(f"{self.name(index)} changed since this job took it: run the pipeline again")

    def sent(self, index: int) -> Source:
        """One that lies on this program's disk, with its bytes as they are now.

        Raises:
            PictureError: They can't be read.
            LookupError: It doesn't lie there.
        """
        member = self._members.get(index)
        if member is not None:
            return member.sent()
        if self._kinds[index] != PATH:
            raise LookupError(f"source {index} is no file of this program's")
        given = File(self.name(index), None, self.folder(index)).sent()
        return given._replace(given_stamp=self.stamp(index))


def _encoded(name: str) -> bytes:
    """A name of any bytes; one that no file can have, in words."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace")
