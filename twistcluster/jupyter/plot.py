"""A plot: the user's draw function over the results of a job. Runs in the render process.

Owns: the figure, the state handed to each call, what is shown when the function raises. Must not know: the kernel, the
link. Draws with `Figure` and `FigureCanvasAgg`, never pyplot: no global state, no user's rcParams.
"""

import io
import linecache
import traceback
from collections.abc import Callable
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["HEIGHT_INCHES", "WIDTH_INCHES", "Plot", "told"]

WIDTH_INCHES = 6.8
HEIGHT_INCHES = 3.8
DPI = 100


class Plot:
    """A figure with one pair of axes that lives as long as its view."""

    def __init__(self, draw_fn: Callable[[Any, list[Any], dict[Any, Any]], object]) -> None:
        self.draw_fn = draw_fn
        self.state: dict[Any, Any] = {}
        self.error = ""
        self.figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DPI, layout="constrained")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()

    def add(self, new_results: list[Any]) -> None:
        """Call the draw function. What it raises is kept as text, and the plot goes on with the next results."""
        try:
            self.draw_fn(self.axes, new_results, self.state)
        except Exception as error:
            self.error = told(error)
        else:
            self.error = ""

    def png(self, ratio: float, *, palette: bool) -> tuple[bytes, int, int]:
        """The figure as PNG, `ratio` pixels per CSS pixel, with its width and height in CSS pixels."""
        # What is wrong in the artists shows only while they are drawn: a bad label's mathtext, say.
        try:
            image = self._image(ratio)
        except Exception as error:
            self.error = told(error)
            self.axes.clear()
            image = self._image(ratio)
        if palette:
            image = image.quantize(64, dither=0)
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1 if palette else 6)
        return out.getvalue(), round(WIDTH_INCHES * DPI), round(HEIGHT_INCHES * DPI)

    def _image(self, ratio: float) -> Any:
        from PIL import Image

        self.figure.set_dpi(DPI * ratio)
        self.canvas.draw()
        width, height = self.canvas.get_width_height()
        return Image.frombuffer("RGBA", (width, height), self.canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")


def told(error: BaseException) -> str:
    """An exception of the user's function in two lines: what, and on which line of theirs."""
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()
    headline = text[-1] if text else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    linecache.checkcache()
    if not frames:
        return headline
    # The first frame outside this file is the draw function's own.
    return f"{headline}\nline {frames[0].lineno} of {frames[0].name}" + (
        f": {frames[0].line}" if frames[0].line else ""
    )
