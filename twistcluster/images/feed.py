"""A pipeline's job as a gallery sees it.

Owns: names, and the full picture of a tile. Must not know: how tiles look, where they are shown.
"""

import io
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from twistcluster.client.views import JobListener, Progress
from twistcluster.images.colour import to_rgb
from twistcluster.images.job import PictureJob
from twistcluster.images.shown import shown
from twistcluster.images.work import Encoded

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Feed"]

FULL_PIXELS: Final = 4096
"""The longer side of what a browser is sent: a display has no more."""
FRAMES: Final = 200
"""Of an animation that is opened."""
FRAMES_PIXELS: Final = 40_000_000
"""Of all of its frames: a second or two to encode."""


class Feed:
    """What `views.PictureFeed` asks for.

    Args:
        job: The pipeline's.
        full: Makes one picture again, where a result isn't the picture itself.
    """

    def __init__(self, job: PictureJob, full: Callable[[int], Any]) -> None:
        self._job = job
        self._record = job.record
        self._full = full
        self.id = self._record.id
        self.label = self._record.label
        self.origin = self._record.origin
        self.store = self._record.store

    def names(self, index: int) -> str:
        """What a picture is called: the last part of its path or address."""
        name = self._job.name_of(index)
        return name.rstrip("/").rpartition("/")[2] or name

    def full(self, index: int) -> tuple[str, bytes]:
        """A picture for the browser: its type and bytes."""
        value = self._job[index].result()
        if isinstance(value, Encoded) and value.format in {"jpeg", "jpg", "png", "webp", "avif", "gif"}:
            return f"image/{'jpeg' if value.format == 'jpg' else value.format}", value.data
        if isinstance(value, tuple | list) and value and _is_picture(value[0]):
            return _animated(value)
        if isinstance(value, Encoded):
            value = value.image()
        elif not _is_picture(value):
            value = self._full(index)
        return _for_browsers(value)

    def progress(self) -> Progress:
        """How far the job is."""
        return self._record.progress()

    def subscribe(self, listener: JobListener) -> Callable[[], None]:
        """As the job's."""
        return self._record.subscribe(listener)

    def definition(self, digest: bytes) -> bytes:
        """As the job's."""
        return self._record.definition(digest)

    def error(self, index: int) -> BaseException:
        """As the job's."""
        return self._record.error(index)

    def wait(self, timeout: float | None = None) -> bool:
        """As the job's."""
        return self._record.wait(timeout)


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getbands") or hasattr(value, "__array_interface__")


def _animated(frames: Sequence[Any]) -> tuple[str, bytes]:
    """All frames of an animation; of pages, or of frames that are too many for a browser, the first."""
    images = [_ready(frame) for frame in islice(frames, FRAMES)]
    first = images[0]
    times = [image.info.get("duration") for image in images]
    if len(frames) > len(images) or len(images) == 1 or None in times or any(one.size != first.size for one in images):
        return _for_browsers(frames[0])
    if len(images) * first.width * first.height > FRAMES_PIXELS:
        return _for_browsers(frames[0])
    file = io.BytesIO()
    same = [image.convert("RGBA") for image in images]
    same[0].save(file, "WEBP", save_all=True, append_images=same[1:], duration=times, loop=0, quality=90, method=0)
    return "image/webp", file.getvalue()


def _for_browsers(value: Any) -> tuple[str, bytes]:
    image = _ready(value)
    file = io.BytesIO()
    if image.mode in {"RGBA", "LA"}:
        image.save(file, "PNG", compress_level=1)
        return "image/png", file.getvalue()
    image.save(file, "JPEG", quality=90)
    return "image/jpeg", file.getvalue()


def _ready(value: Any) -> "Image.Image":
    """A picture of 8 bits, no larger than a display."""
    from PIL import Image

    from twistcluster.images.arrays import from_array

    image = shown(value if isinstance(value, Image.Image) else from_array(value))
    if image.mode not in {"L", "RGB", "RGBA", "LA"}:
        image = to_rgb(image)
    if max(image.size) > FULL_PIXELS:
        image = image.copy()
        image.thumbnail((FULL_PIXELS, FULL_PIXELS))
    return image
