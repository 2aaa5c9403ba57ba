"""All steps by name. A pipeline's methods are made of these; each is a frozen value, and `apply` does it.

Owns: the list. Must not know: what any step does.
"""

from typing import Final

from twistcluster.images.calls import Filter, Map, Metadata
from twistcluster.images.drawing import Text, Watermark
from twistcluster.images.filters import Blur, Denoise, Edges, Sharpen
from twistcluster.images.geometry import Crop, Fit, Resize, Rotate, Thumbnail, Transpose
from twistcluster.images.step import Step
from twistcluster.images.tones import Autocontrast, Brightness, Color, Contrast, Convert, Equalize, Grayscale

__all__ = [
    "STEPS",
    "Autocontrast",
    "Blur",
    "Brightness",
    "Color",
    "Contrast",
    "Convert",
    "Crop",
    "Denoise",
    "Edges",
    "Equalize",
    "Filter",
    "Fit",
    "Grayscale",
    "Map",
    "Metadata",
    "Resize",
    "Rotate",
    "Sharpen",
    "Step",
    "Text",
    "Thumbnail",
    "Transpose",
    "Watermark",
]

STEPS: Final[dict[str, type[Step]]] = {
    one.name: one
    for one in (
        *(Resize, Thumbnail, Fit, Crop, Rotate, Transpose),
        *(Grayscale, Autocontrast, Equalize, Brightness, Contrast, Color, Convert),
        *(Blur, Sharpen, Denoise, Edges),
        *(Text, Watermark),
        *(Map, Filter, Metadata),
    )
}
"""Name of the pipeline's method -> the step it adds, with the same parameters."""
