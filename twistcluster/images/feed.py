"""A pipeline's job as a gallery sees it.

Owns: names, and the full picture of a tile. Must not know: how tiles look, where they are shown.
"""

import io
from collections.abc import Callable
from typing import Any, Final

from twistcluster.client.views import JobListener, Progress
from twistcluster.images.colour import to_8bit, to_rgb
from twistcluster.images.job import PictureJob
from twistcluster.images.work import Encoded

__all__ = ["Feed"]

FULL_PIXELS: Final = 4096
"""The longer side of what a browser is sent: a display has no more."""


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
        if isinstance(value, Encoded):
            value = value.image()
        elif not hasattr(value, "getbands") and not hasattr(value, "__array_interface__"):
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


def _for_browsers(value: Any) -> tuple[str, bytes]:
    from PIL import Image

    from twistcluster.images.arrays import from_array

    image = value if isinstance(value, Image.Image) else from_array(value)
    if image.mode in {"I", "F", "I;16"}:
        image = to_8bit(image)
    if image.mode not in {"L", "RGB", "RGBA", "LA"}:
        image = to_rgb(image)
    if max(image.size) > FULL_PIXELS:
        image = image.copy()
        image.thumbnail((FULL_PIXELS, FULL_PIXELS))
    file = io.BytesIO()
    if image.mode in {"RGBA", "LA"}:
        image.save(file, "PNG", compress_level=1)
        return "image/png", file.getvalue()
    image.save(file, "JPEG", quality=90)
    return "image/jpeg", file.getvalue()
