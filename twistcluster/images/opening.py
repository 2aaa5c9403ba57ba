"""From bytes, a path, a PIL image or an array to a picture that is ready for steps.

Owns: reading, the limit of pixels, orientation, frames, and what each thing that can be wrong with a file is called.
Must not know: steps, clusters, where paths come from.

- `opened` reads a header only; `Opened.picture` decodes, smaller where the caller asks and the format can.
- Content decides what a file is, never its name. EPS is refused: Pillow would start Ghostscript for it.
- Pillow warns at 89 megapixels and refuses at 179, both by a global of its process. Here `max_pixels` decides, before
  anything is decoded, and for pictures inside of pictures too (ICO, ICNS).
"""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Self

from twistcluster.errors import PictureDamaged, PictureError, PictureTooLarge, PictureUnknown, PictureUnreadable
from twistcluster.images.arrays import from_array
from twistcluster.images.colour import carry, normal
from twistcluster.images.kinds import HEAD_BYTES, SHRINKABLE, advice, kind_of
from twistcluster.images.orientation import SWAPPING, turn_of, upright_exif
from twistcluster.images.quick import plain_png

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MAX_PIXELS", "Opened", "as_it_is", "name_of", "opened", "pillows_limit"]

MAX_PIXELS: Final = 178_956_970
"""A picture of more pixels is refused unless more are allowed: where Pillow itself refuses, half a gigabyte as RGB."""

_REFUSED: Final = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
"""What Pillow can only name, draws by other programs, or draws on another system."""

_USUAL: Final = ("JPEG", "PNG")

_lock = threading.RLock()
_inside: int | None = None
"""The limit that holds now, for the thread that has the lock."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture of which the header is read. It holds its file open until `picture`, `pictures`, `close` or the end of `with`.

    Attributes:
        name: What errors call it.
        format: Pillow's name of its format; None for a PIL image that was made, or an array.
        size: (width, height) in pixels as it will be seen, orientation applied.
        stored: (width, height) as stored, before that.
        turn: The `Image.Transpose` that makes it upright, None if it is.
    """

    name: str
    image: "Image.Image"
    format: str | None
    size: tuple[int, int]
    stored: tuple[int, int]
    turn: int | None
    max_pixels: int
    file: IO[bytes] | None

    @property
    def shrinks(self) -> bool:
        """Whether `picture` can decode it smaller at less cost."""
        return self.file is not None and self.format in SHRINKABLE and hasattr(self.image, "draft")

    def frames(self) -> int:
        """The number of its frames: of an animation, pages of a TIFF. Reads through the file where its format needs."""
        with _decoding(self.name, self.max_pixels):
            return int(getattr(self.image, "n_frames", 1))

    def picture(self, *, shrink: int = 1, upright: bool = True) -> "Image.Image":
        """Decode the first frame, to one of `colour.MODES`.

        Args:
            shrink: 2, 4 or 8 decodes 1/2, 1/4 or 1/8 of width and height, rounded up, where `shrinks`; else ignored.
            upright: Apply the orientation. Without, the picture is as stored, and `turn` is the caller's to apply.

        Raises:
            PictureDamaged: Its bytes break off or make no sense.
            PictureTooLarge: One of the pictures inside it has more than `max_pixels`.
        """
        with _decoding(self.name, self.max_pixels):
            if shrink > 1 and self.shrinks:
                width, height = self.stored
                self.image.draft(None, (max(width // shrink, 1), max(height // shrink, 1)))
            try:
                return self._ready(self.turn if upright else None)
            finally:
                self.close()

    def pictures(self) -> tuple["Image.Image", ...]:
        """Decode all frames, upright; each has its own `info["duration"]` in milliseconds where the file says one.

        Raises:
            PictureDamaged: Its bytes break off or make no sense; no frame is returned then.
            PictureTooLarge: Its frames have more than `max_pixels` together.
        """
        count = self.frames()
        if count * self.stored[0] * self.stored[1] > self.max_pixels:
            raise PictureTooLarge(
                f"{self.name} has {count} frames of {self.stored[0]} x {self.stored[1]} pixels, "
                f"more than {self.max_pixels:,} together: take frames='first', or allow more by max_pixels="
            )
        made = []
        with _decoding(self.name, self.max_pixels):
            try:
                for index in range(count):
                    if count > 1:
                        self.image.seek(index)
                        _check(self.name, self.image.size, self.max_pixels)
                    # A copy: an animation's next frame is drawn over this one's pixels.
                    frame = self._ready(turn_of(self.image))
                    made.append(carry(frame, frame.copy()))
            finally:
                self.close()
        return tuple(made)

    def exif(self) -> "Image.Exif":
        """Its EXIF data, as Pillow has them, without the orientation."""
        with _decoding(self.name, self.max_pixels):
            return upright_exif(self.image)

    def close(self) -> None:
        """Close its file. A PIL image that was given stays as it is."""
        if self.file is not None:
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ready(self, turn: int | None) -> "Image.Image":
        from PIL import Image

        exif = upright_exif(self.image)
        picture = normal(self.image)
        if self.file is None and picture.im is self.image.im:
            picture = carry(picture, picture.copy())  # a user's function may draw on it
        if turn is not None:
            picture = carry(picture, picture.transpose(Image.Transpose(turn)))
        return carry(picture, picture, exif=exif.tobytes() if exif else None, format=self.format)


def opened(source: Any, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Opened:
    """Read the header of a picture.

    Args:
        source: Bytes of a file, a path, a PIL image (it is not changed), or an array as `from_array` takes it.
        name: What errors call it; a path's own name by default.
        max_pixels: Refuse a picture with more.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("P", (60, 40)).save(file, "GIF")
    >>> photo = opened(file.getvalue())
    >>> photo.format, photo.size, photo.picture().mode
    ('GIF', (60, 40), 'RGB')
    >>> opened(b"<html>404</html>", name="cat.jpg")
    Traceback (most recent call last):
    ...
    twistcluster.errors.PictureUnknown: cat.jpg can't be opened: it is HTML: a web page, perhaps an error page ...

    Raises:
        PictureUnreadable: No such file, a folder, or one that may not be read.
        PictureUnknown: No picture, or a format that this Pillow can't read.
        PictureDamaged: Its header breaks off or makes no sense.
        PictureTooLarge: It has more than `max_pixels`.
        TypeError: `source` is none of these.
    """
    from PIL import Image

    name = name or name_of(source)
    if isinstance(source, str | os.PathLike):
        file: IO[bytes] = _file(os.fspath(source), name)
    elif isinstance(source, bytes | bytearray | memoryview):
        file = io.BytesIO(source)
    else:
        if not isinstance(source, Image.Image) and not hasattr(source, "__array_interface__"):
            raise TypeError(f"{name} is no picture: give bytes, a path, a PIL image or an array")
        image = source if isinstance(source, Image.Image) else from_array(source)
        return _described(image, name, max_pixels, None)
    try:
        return _described(_image(file, name, max_pixels), name, max_pixels, file)
    except BaseException:
        file.close()
        raise


def as_it_is(
    source: Any, *, name: str, max_pixels: int = MAX_PIXELS, wanted: tuple[int, int] | None = None
) -> tuple["Image.Image", tuple[int, int]]:
    """A picture of which the pixels alone count, in L or RGB where it is stored so: half the time of `Opened.picture`.

    Args:
        source: As `opened` takes it.
        name: What errors call it.
        max_pixels: Refuse a picture with more.
        wanted: Width and height that it will be made: a JPEG is decoded smaller, with three pixels or more for each.

    Returns:
        The picture, and the (width, height) that it has undiminished.

    Raises:
        PictureError: As `opened` and `Opened.picture`.
    """
    if isinstance(source, bytes | str):
        with contextlib.suppress(Exception):  # what is wrong with it is said below
            found = _usual(source, max_pixels, wanted)
            if found is not None:
                return found
    with opened(source, name=name, max_pixels=max_pixels) as picture:
        return picture.picture(), picture.size


def _usual(
    source: bytes | str, max_pixels: int, wanted: tuple[int, int] | None
) -> tuple["Image.Image", tuple[int, int]] | None:
    """A JPEG or PNG in L or RGB that is upright; None: it is something else."""
    from PIL import Image

    if isinstance(source, bytes):
        quick = plain_png(source, max_pixels)
        if quick is not None:
            return quick, quick.size
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    with pillows_limit(max_pixels), Image.open(file, formats=_USUAL) as image:
        known = image.info
        if image.mode not in {"L", "RGB"} or image.width * image.height > max_pixels:
            return None
        size = image.size
        if wanted is not None and image.format == "JPEG":
            image.draft(None, (3 * wanted[0], 3 * wanted[1]))
        image.load()
        unusual = "transparency" in known or "icc_profile" in known or turn_of(image) is not None
        return None if unusual else (image, size)


def name_of(source: Any) -> str:
    """What errors call a source that has no name of its own.

    >>> name_of("holiday/cat.jpg"), name_of(b"GIF89a")
    ('holiday/cat.jpg', 'a picture of 6 bytes')
    """
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"a picture of {memoryview(source).nbytes:,} bytes"
    return f"a picture (a value of type {type(source).__name__})"


@contextlib.contextmanager
def pillows_limit(max_pixels: int) -> Iterator[None]:
    """While this runs, Pillow refuses more than `max_pixels`, and its decoders' warnings are silent.

    Both are globals of the process: one thread at a time opens pictures. (A photo with odd EXIF data is none the worse,
    where warnings are errors too.)
    """
    global _inside
    from PIL import Image

    with _lock:
        if _inside == max_pixels:
            yield
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outer = _inside, Image.MAX_IMAGE_PIXELS
            _inside, Image.MAX_IMAGE_PIXELS = max_pixels, (max_pixels + 1) // 2
            try:
                yield
            finally:
                _inside, Image.MAX_IMAGE_PIXELS = outer


def _file(path: str | bytes, name: str) -> IO[bytes]:
    try:
        return open(path, "rb")  # noqa: PTH123 (paths may be bytes; Pillow reads on, and Opened closes)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise PictureUnreadable(
            f"{name} can't be read: {why}; check its name and rights on the machine that reads it"
        ) from error


def _image(file: IO[bytes], name: str, max_pixels: int) -> "Image.Image":
    """Let Pillow read the header."""
    from PIL import Image, UnidentifiedImageError

    try:
        head = file.read(HEAD_BYTES)
        file.seek(0)
    except OSError as error:
        raise PictureUnreadable(f"{name} can't be read: {error.strerror or error}") from error
    if not head:
        raise PictureDamaged(f"{name} is empty: fetch or copy it again")
    kind = kind_of(head)
    formats = [kind] if kind in {"JPEG", "PNG", "GIF", "BMP"} else _formats()
    with pillows_limit(max_pixels):
        try:
            return Image.open(file, formats=formats)
        except UnidentifiedImageError as error:
            if kind in Image.OPEN and kind not in _REFUSED and kind != "TIFF":  # of TIFF, Pillow knows a part
                raise PictureDamaged(
                    f"{name} can't be opened: it begins as {kind}, but its header breaks off or makes no sense; "
                    f"fetch or copy it again"
                ) from error
            raise PictureUnknown(f"{name} can't be opened: {advice(kind)}") from error
        except Exception as error:
            raise _named_error(name, error, max_pixels) from error


def _formats() -> list[str]:
    """All formats that Pillow may be asked for, those of registered plugins too; loads its own."""
    from PIL import Image

    Image.init()
    return [one for one in Image.ID if one not in _REFUSED]


def _described(image: "Image.Image", name: str, max_pixels: int, file: IO[bytes] | None) -> Opened:
    _check(name, image.size, max_pixels)
    with _decoding(name, max_pixels):
        turn = turn_of(image)
    width, height = image.size
    seen = (height, width) if turn in SWAPPING else (width, height)
    return Opened(name, image, image.format, seen, (width, height), turn, max_pixels, file)


def _check(name: str, size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise PictureTooLarge(
            f"{name} has {size[0]} x {size[1]} pixels, more than {max_pixels:,}: "
            f"if it is what it should be, allow more by max_pixels="
        )


@contextlib.contextmanager
def _decoding(name: str, max_pixels: int) -> Iterator[None]:
    """Whatever a decoder raises becomes an error of this picture."""
    try:
        with pillows_limit(max_pixels):
            yield
    except PictureError:
        raise
    except Exception as error:
        raise _named_error(name, error, max_pixels) from error


def _named_error(name: str, error: Exception, max_pixels: int) -> PictureError:
    from PIL import Image

    if isinstance(error, Image.DecompressionBombError | MemoryError):
        why = "is larger than memory" if isinstance(error, MemoryError) else f"has more than {max_pixels:,} pixels"
        return PictureTooLarge(f"{name} {why}: if it is what it should be, allow more by max_pixels= or memory_limit=")
    return PictureDamaged(
        f"{name} is damaged ({str(error) or type(error).__name__}): fetch or copy it again, "
        f"or leave it out with options(errors='return')"
    )
