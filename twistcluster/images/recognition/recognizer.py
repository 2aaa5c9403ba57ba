"""What recognises: a model and how to ask it, as one picklable value.

Where it is made, the model is read and checked; where pictures are, it is asked. Owns: the options. Must not know: what
is done with answers, clusters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twistcluster.images.recognition.cascade import Cascade, faces_file
from twistcluster.images.recognition.inputs import only_input, read_input
from twistcluster.images.recognition.model import read_model
from twistcluster.images.recognition.network import Network
from twistcluster.images.recognition.outputs import BOXES, YOLO, check_options, read_output
from twistcluster.images.recognition.result import Recognition
from twistcluster.images.recognition.shipped import Shipped
from twistcluster.wire.functions import Raised

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["Recognizer"]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Recognizer:
    """A model, and how pictures are put to it and its answers read.

    Args:
        model: The path of an ONNX file, its bytes, or one of `tc.models`. It is read now; its bytes travel with the
            recognizer.
        labels: Of the model's classes: the path of a text file with one a line, a list, or a dict by class number. If
            None, those in the model's metadata; what has none is called "class 17".
        top: How many are told of a picture at most; None: 5 classes, or 100 boxes.
        threshold: The least score that is told, from 0 to 1; None: 0 for classes, 0.25 for boxes.
        iou: Of boxes of a class that overlap by more than this (intersection over union), YOLO's and the cascade's
            lesser ones are left out; None: 0.5.
        size: (width, height) of the model's input in pixels, or one number, where the model leaves it open.
        layout: "NCHW" or "NHWC", where the model leaves open which side of its input are the channels.
        normalize: How pixels of 0 to 255 become floats: "0..1", "-1..1", "imagenet", "none", or (mean, std), each a
            number or one a channel, of values from 0 to 1. None: "0..1", and "none" for a model that takes uint8.
        fit: How a picture becomes the input's size: "stretch"; "crop", the middle of it; "letterbox", all of it between
            grey bars. None: letterbox for boxes, else stretch.
        decode: A function of a dict of the outputs, name -> array of one picture, and the picture's (width, height). It
            returns a `Recognition`, or (labels, scores, boxes): labels as texts or class numbers, boxes in pixels of the
            picture, or None.

    Raises:
        ModelRefused: The model can't be used; the message says why.
        ModelOutputUnknown: Its outputs need `decode`.
        ExtraMissing: A library is missing.

    >>> import twistcluster as tc
    >>> from PIL import Image
    >>> recognizer = Recognizer(tc.models.digits)
    >>> picture = Image.new("L", (64, 64))
    >>> picture.paste(255, (28, 8, 36, 56))
    >>> recognizer.recognize([recognizer.array(picture)], [picture.size])[0].label
    '1'
    """

    asked: Network | Cascade

    def __init__(
        self,
        model: Any,
        labels: Any = None,
        top: int | None = None,
        threshold: float | None = None,
        *,
        iou: float | None = None,
        size: Any = None,
        layout: str | None = None,
        normalize: Any = None,
        fit: str | None = None,
        decode: Callable[[Mapping[str, Any], tuple[int, int]], Any] | None = None,
    ) -> None:
        given = {"labels": labels, "top": top, "threshold": threshold, "iou": iou, "size": size, "layout": layout}
        given |= {"normalize": normalize, "fit": fit, "decode": decode}
        given = {name: value for name, value in given.items() if value is not None}
        check_options(top, threshold, iou, decode)
        asked = _shipped(model, given) if isinstance(model, Shipped) else _network(model, None, **given)
        object.__setattr__(self, "asked", asked)

    def __repr__(self) -> str:
        return f"Recognizer({self.asked})"

    @property
    def digest(self) -> bytes:
        """Of the model's bytes."""
        return self.asked.digest

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of what pictures become.

        `array` may be given a picture that was decoded smaller, though some times as large as this: of the picture
        itself `recognize` needs the size only.
        """
        return self.asked.size

    @property
    def most_at_once(self) -> int:
        """How many pictures make a batch at most."""
        return self.asked.most_at_once

    def array(self, image: "Image.Image") -> "np.ndarray[Any, Any]":
        """One upright picture in the model's colours and size: uint8, (height, width) or (height, width, 3)."""
        return self.asked.array(image)

    def recognize(
        self, arrays: Sequence["np.ndarray[Any, Any]"], sizes: Sequence[tuple[int, int]]
    ) -> list[Recognition | Raised]:
        """Recognise pictures together.

        Args:
            arrays: As `array` made them.
            sizes: (width, height) of the pictures themselves: boxes are in their pixels.

        Returns:
            One answer a picture, in order; `Raised` where only this picture failed.

        Raises:
            ModelFailed: The model failed on a whole batch; the message says on which.
        """
        return self.asked.recognize(arrays, sizes)


def _network(source: Any, name: str | None, **given: Any) -> Network:
    model = read_model(source, name)
    only_input(model)  # of a model that takes no pictures, its outputs are no matter
    reading = {name: given.pop(name) for name in ("labels", "top", "threshold", "iou", "decode") if name in given}
    output = read_output(model, **reading)
    fit = given.pop("fit", "letterbox" if output.kind in {BOXES, YOLO} else "stretch")
    return Network(model, read_input(model, fit=fit, **given), output)


def _shipped(model: Shipped, given: dict[str, Any]) -> Network | Cascade:
    options = {"labels": model.labels} | model.options | given
    if model.file is not None:
        return _network(model.file, model.name, **options)
    extra = sorted(set(given) - {"labels", "top", "threshold", "iou"})
    if extra:
        raise ValueError(f"{model.name} isn't a network: it has no {extra[0]}=")
    labels = tuple(options.pop("labels"))
    if len(labels) != 1:
        raise ValueError(f"{model.name} finds one kind of things, so it has one label, not {len(labels)}")
    return Cascade.read(faces_file(), labels, options.pop("top", 100), **options)
