"""What a slot does with the pictures of a pipeline that recognises: steps one by one, the model for many at once.

Owns: the batch function (`wire.functions`) of such a job, and the small picture that a gallery shows. Must not know:
models, clusters.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twistcluster.errors import StepFailed
from twistcluster.images.arrays import from_array
from twistcluster.images.colour import to_rgb
from twistcluster.images.opening import as_it_is
from twistcluster.images.plan import Dropped
from twistcluster.images.recognition.recognizer import Recognizer
from twistcluster.images.source import Item
from twistcluster.images.work import AlreadyThere, Pictures, asked_item
from twistcluster.wire.functions import Raised

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PREVIEW_PIXELS", "Asked", "AskedTogether", "Recognizing"]

PREVIEW_PIXELS: Final = 256
"""The longer side of the picture that a result carries for the gallery."""
PREVIEW_QUALITY: Final = 80


class Prepared(NamedTuple):
    """A picture as the model takes it."""

    name: str
    array: Any
    size: tuple[int, int]
    preview: bytes


@dataclass(frozen=True)
class Recognizing(Pictures):
    """Open pictures, do the steps, and ask the model.

    Args:
        recognizer: The model and how its outputs are read.
        previews: Put a small picture into each result, for the gallery.
    """

    recognizer: Recognizer | None = None
    previews: bool = False

    @property
    def users_functions(self) -> tuple[Any, ...]:
        """Also that which reads the model's outputs."""
        decode = getattr(getattr(self._model.asked, "output", None), "decode", None)
        return super().users_functions + (() if decode is None else (decode,))

    @property
    def most_at_once(self) -> int:
        """How many pictures the model is given together."""
        return self._model.most_at_once

    @property
    def _model(self) -> Recognizer:
        assert self.recognizer is not None
        return self.recognizer

    def __call__(self, item: Item | AlreadyThere) -> Any:
        """The result for one picture."""
        assert isinstance(item, Item)
        found = self.together([self.prepare(item)])[0]
        if isinstance(found, Raised):
            raise found.error
        return found

    def prepare(self, item: Item) -> Prepared | Dropped:
        """Open it, do the steps, and make the model's input of it.

        Raises:
            PictureError: What is wrong with it.
        """
        if self.plan.steps:
            found = self.picture(item)
            if found is Dropped.DROPPED:
                return Dropped.DROPPED
            image = _image(found, item.name)
            size = image.size
        else:
            plan = self.plan
            wanted = self._model.size if plan.shrink else None
            source = item.source.opened_here()
            image, size = as_it_is(source, name=item.name, max_pixels=plan.max_pixels, wanted=wanted)
        try:
            array = self._model.array(image)
        except (ValueError, MemoryError) as error:
            raise StepFailed(f"{item.name} can't be made an input of the model: {error}") from error
        preview = small(image) if self.previews else b""
        return Prepared(item.source.name, array, size, preview)

    def together(self, prepared: list[Prepared | Dropped]) -> list[Any]:
        """One answer for each."""
        ready = [one for one in prepared if isinstance(one, Prepared)]
        found = iter(self._model.recognize([one.array for one in ready], [one.size for one in ready]) if ready else ())
        return [self._answer(next(found), one) if isinstance(one, Prepared) else one for one in prepared]

    @staticmethod
    def _answer(answer: Any, of: Prepared) -> Any:
        if isinstance(answer, Raised):
            return answer
        return answer.of(of.name, of.preview)


@dataclass(frozen=True)
class Asked:
    """What a server of pictures does: as its pipeline, with the picture that somebody asks about; None if it is left out.

    Args:
        work: The pipeline's.
    """

    work: Pictures

    @property
    def __name__(self) -> str:
        return self.work.label

    @property
    def users_functions(self) -> tuple[Any, ...]:
        """As the pipeline's."""
        return self.work.users_functions

    def __call__(self, value: Any) -> Any:
        """The answer for one picture."""
        return _answer(self.work(asked_item(value)))


@dataclass(frozen=True)
class AskedTogether(Asked):
    """The same for a pipeline that recognises."""

    work: Recognizing

    @property
    def most_at_once(self) -> int:
        """As the pipeline's."""
        return self.work.most_at_once

    def prepare(self, value: Any) -> Any:
        """As the pipeline's."""
        return self.work.prepare(asked_item(value))

    def together(self, prepared: list[Any]) -> list[Any]:
        """As the pipeline's."""
        return [_answer(each) for each in self.work.together(prepared)]


def _answer(found: Any) -> Any:
    """For somebody who asked about one picture, nothing is None."""
    return None if found is Dropped.DROPPED else found


def small(image: "Image.Image") -> bytes:
    """A JPEG of at most `PREVIEW_PIXELS`."""
    picture = image
    if max(image.size) > PREVIEW_PIXELS:
        picture = image.copy()
        picture.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    if picture.mode not in {"L", "RGB"}:
        picture = to_rgb(picture).convert("RGB")
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=PREVIEW_QUALITY)
    return file.getvalue()


def _image(found: Any, name: str) -> "Image.Image":
    """What the steps gave, as a picture."""
    from PIL import Image

    if isinstance(found, Image.Image):
        return found
    if hasattr(found, "__array_interface__"):
        return from_array(found)
    raise StepFailed(f"the steps made a {type(found).__name__} of {name}: recognize needs a picture or an array")
