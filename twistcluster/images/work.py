"""What a slot does with one picture of a pipeline: open, steps, and what the result is made into.

Owns: the functions that pipelines' jobs call. Must not know: clusters, who asks for results.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twistcluster.images.calls import Filter, Map
from twistcluster.images.encoding import Encoding, encode
from twistcluster.images.names import Pattern
from twistcluster.images.plan import Dropped, Plan
from twistcluster.images.saving import Folder
from twistcluster.images.source import Given, Item, Url, is_theirs
from twistcluster.images.stamps import plan_stamp, stamp

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["AlreadyThere", "Encoded", "Pictures", "Saved", "Saving", "asked_item", "encoded"]


class Encoded(NamedTuple):
    """A picture as the bytes of a file, on its way to the client's disk."""

    data: bytes
    format: str
    size: tuple[int, int]
    mark: bytes = b""
    """The stamp of its source, where that lies on the worker's disk."""

    def image(self) -> "Image.Image":
        """The picture."""
        import io

        from PIL import Image

        return Image.open(io.BytesIO(self.data))

    def __tile__(self) -> tuple[bytes, tuple[int, int], list[Any]]:
        """For a gallery: the bytes, in a format that browsers know."""
        if self.format in {"jpeg", "jpg", "png", "webp", "gif"}:
            return self.data, self.size, []
        return encode(self.image(), Encoding("png")), self.size, []

    def __repr__(self) -> str:
        return f"<{self.format} of {len(self.data):,} bytes>"


class Saved(NamedTuple):
    """A picture that is on a disk.

    Attributes:
        path: Where, on the disk of who saved it.
        made: False: it was there already, of the same source and steps.
    """

    path: str
    made: bool


class AlreadyThere(NamedTuple):
    """In the place of an item of which the result is on the client's disk: nothing is to do."""

    number: int
    path: str


@dataclass(frozen=True)
class Saving:
    """Where the workers put pictures, on their own disks."""

    folder: str
    pattern: Pattern
    encoding: Encoding
    overwrite: bool
    run: str

    def name(self, item: Item, made_of: str | None) -> str:
        """A picture's name in the folder."""
        source = item.source
        return self.pattern.path(
            self.encoding.format, source=source.name, index=item.number, folder=source.folder, stamp=made_of
        )


@dataclass(frozen=True)
class Pictures:
    """Open a picture, and do the steps.

    Args:
        plan: The steps.
        encoding: Make the picture a file's bytes; None: the picture itself is the result.
        saving: Write the file where this runs, and say where.
        label: What its jobs are called.
    """

    plan: Plan
    encoding: Encoding | None = None
    saving: Saving | None = None
    label: str = field(default="images", compare=False)

    @property
    def __name__(self) -> str:
        return self.label

    @property
    def users_functions(self) -> tuple[Any, ...]:
        """Functions of the user that it calls: what they import travels as for any other."""
        return tuple(step.function for step in self.plan.steps if isinstance(step, Map | Filter))

    def __call__(self, item: Any) -> Any:
        """The result for one picture.

        Args:
            item: An `Item`, `AlreadyThere`, or what another job made of the picture: that is only encoded.

        Raises:
            PictureError: What is wrong with it.
        """
        if isinstance(item, AlreadyThere):
            return Saved(item.path, made=False)
        if self.saving is not None:
            return self._saved(item, self.saving)
        mark, found = b"", item
        if isinstance(item, Item):
            mark = item.source.stamp() if self.encoding is not None and is_theirs(item.source) else b""
            found = self.picture(item)
        if self.encoding is None or found is Dropped.DROPPED:
            return found
        return encoded(found, self.encoding)._replace(mark=mark)

    def picture(self, item: Item) -> Any:
        """What the steps make of it."""
        return self.plan.run(item.source.opened_here(), name=item.name)

    def _saved(self, item: Item, saving: Saving) -> Any:
        folder, plan = _opened(saving, self.plan)
        made_of = stamp(item.source.stamp(), plan)
        name = saving.name(item, made_of)
        anew = saving.overwrite and isinstance(item.source, Url)  # whether that changed nobody can tell
        if folder.has(name, made_of, item.number, anew=anew):
            return Saved(str(folder.path / name), made=False)
        found = self.picture(item)
        if found is Dropped.DROPPED:
            return found
        data = encoded(found, saving.encoding).data
        return Saved(str(folder.write(name, data, made_of, item.number, anew=anew)), made=True)


def encoded(found: Any, encoding: Encoding) -> Encoded:
    """A picture, or its frames, as a file's bytes."""
    first = found[0] if isinstance(found, Sequence) and found else found
    data = encode(found, encoding)
    width, height = _size(first)
    return Encoded(data, encoding.format, (width, height))


def asked_item(value: Any) -> Item:
    """What somebody asked a server about: the picture itself, never a path or an address, which would be the worker's.

    Raises:
        TypeError: It is no picture.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return Item(0, Given(bytes(value), "the picture"))
    if hasattr(value, "getbands") or hasattr(value, "__array_interface__"):
        return Item(0, Given(value, "the picture"))
    raise TypeError(
        f"a server of pictures is asked with a picture, not with a {type(value).__name__}: give the bytes of its file "
        "(Path(…).read_bytes()), a PIL image or an array"
    )


def _size(picture: Any) -> tuple[int, int]:
    if hasattr(picture, "size") and isinstance(picture.size, tuple):
        return picture.size
    shape = getattr(picture, "shape", (0, 0))
    return int(shape[1]), int(shape[0])


FOLDERS: Final = 2
"""That a slot keeps open: those of the saves that it works for."""
_folders: dict[tuple[str, str], tuple[Folder, bytes | None]] = {}
_lock: Final = threading.Lock()


def _opened(saving: Saving, plan: Plan) -> tuple[Folder, bytes | None]:
    """The folder, and the stamp of the one plan of its run: this slot opens and makes them once, not for each picture."""
    key = saving.folder, saving.run
    with _lock:
        if key not in _folders:
            while len(_folders) >= FOLDERS:
                _folders.pop(next(iter(_folders)))[0].close()
            made_of = plan_stamp(plan, saving.encoding)
            _folders[key] = Folder(saving.folder, overwrite=saving.overwrite, run=saving.run), made_of
        return _folders[key]
