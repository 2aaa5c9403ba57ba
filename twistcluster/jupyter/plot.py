"""A plot: the user's draw function over the results of a job. Runs in the render process.

Owns: the figure, the state handed to each call, what is shown when the function raises. Must not know: the link, the
kernel. Draws with `Figure` and `FigureCanvasAgg`, never pyplot: no global state, no user's rcParams.
"""

import io
import time
from collections.abc import Callable
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from twistcluster.jupyter.card import draw_card
from twistcluster.jupyter.inbox import Answer, Inbox, told
from twistcluster.jupyter.render_messages import Draw, Frame, Picture, Snapshot
from twistcluster.storage.values import ValueStore
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.functions import load_function
from twistcluster.wire.pages import Packed

__all__ = ["Plot", "PlotCanvas"]

WIDTH_INCHES = 7.88
HEIGHT_INCHES = 4.4
DPI = 100
"""788 x 440 CSS pixels: the width of the still picture without its margins."""
LAYOUT_SECONDS = 1.0
DECODE_SECONDS = 0.5
"""How long one `Draw` decodes results before it draws what it has."""


class Plot:
    """A figure with one pair of axes that lives as long as its view."""

    def __init__(self, draw_fn: Callable[[Any, list[Any], dict[Any, Any]], object]) -> None:
        self.draw_fn = draw_fn
        self.state: dict[Any, Any] = {}
        self.error = ""
        self.figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DPI)
        self._layout = ConstrainedLayoutEngine()
        self._laid_out_at = float("-inf")
        self._laid_out: list[tuple[bool, bool, bool, int]] = []
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

    def png(self, ratio: float, *, passing: bool) -> tuple[bytes, int, int]:
        """The figure as PNG, `ratio` pixels per CSS pixel, with its width and height in CSS pixels.

        One that is `passing` has few colours, which makes it small.
        """
        # What is wrong in the artists shows only while they are drawn: a bad label's mathtext, say.
        try:
            image = self._image(ratio, passing=passing)
        except Exception as error:
            self.error = f"while drawing: {told(error).splitlines()[0]}"
            self.axes.clear()
            image = self._image(ratio, passing=passing)
        if passing:
            image = image.quantize(64, dither=Image.Dither.NONE)
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1 if passing else 6)
        return out.getvalue(), round(WIDTH_INCHES * DPI), round(HEIGHT_INCHES * DPI)

    def _image(self, ratio: float, *, passing: bool) -> Image.Image:
        self.figure.set_dpi(DPI * ratio)
        # Finding room for labels takes two thirds of a draw; once a second is enough, and each time that there are others
        # (the first results bring them, and 10 is wider than 9), and for what stays.
        if time.monotonic() - self._laid_out_at >= LAYOUT_SECONDS or not passing:
            self._lay_out()
        self.canvas.draw()  # type: ignore[no-untyped-call]
        if self._labels() != self._laid_out:  # what stands at the ticks is known once they are drawn
            self._lay_out()
            self.canvas.draw()  # type: ignore[no-untyped-call]
        width, height = self.canvas.get_width_height()
        pixels = self.canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        return Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1).convert("RGB")

    def _lay_out(self) -> None:
        self._layout.execute(self.figure)
        self._laid_out_at = time.monotonic()
        self._laid_out = self._labels()

    def _labels(self) -> list[tuple[bool, bool, bool, int]]:
        """What needs room: which labels there are, and how long the longest beside the axes is."""
        return [
            (
                bool(axes.get_title()),
                bool(axes.get_xlabel()),
                bool(axes.get_ylabel()),
                max((len(tick.label1.get_text()) for tick in axes.yaxis.majorTicks), default=0),
            )
            for axes in self.figure.axes
        ]


class PlotCanvas:
    """A user's draw function and its figure."""

    def __init__(self, view: int, definitions: Definitions, function: bytes) -> None:
        self.view = view
        self.inbox = Inbox(definitions)
        self.plot: Plot | None = None
        self._function = function
        self._definitions = definitions
        self._error = ""

    def take(self, first: int, packed: Packed, store: ValueStore | None) -> None:
        """Keep results until the next `draw`."""
        self.inbox.add(first, packed, store)

    def failed(self, index: int, reason: str) -> None:
        """A plot is of results only."""

    def draw(self, request: Draw) -> Answer:
        """Hand the function what came, draw the figure."""
        plot = self._opened()
        if plot is None:
            return Frame(self.view, request.request, 0, 0, self._error), []
        new = self._decoded()
        if new:
            plot.add(new)
        png, width, height = plot.png(request.ratio, passing=True)
        return Frame(self.view, request.request, width, height, plot.error or self._error, bool(self.inbox)), [png]

    def _opened(self) -> Plot | None:
        if self.plot is None and not self._error:
            try:
                self.plot = Plot(load_function(self._function, self._definitions))
            except Exception as error:
                self._error = f"the draw function could not be loaded: {told(error)}"
        return self.plot

    def _decoded(self) -> list[Any]:
        until = time.monotonic() + DECODE_SECONDS
        values: list[Any] = []
        while self.inbox and time.monotonic() < until:
            page = self.inbox.rest_of_page()
            if page is not None:
                values.extend(page)
                continue
            index, value, error = self.inbox.next()
            if error:
                self._error = f"result {index} {error}"
            else:
                values.append(value)
        return values

    def still(self, snapshot: Snapshot, last_plot: bytes) -> Answer:
        """The figure, larger."""
        image = None
        if self.plot is not None:
            data, _, _ = self.plot.png(snapshot.scale, passing=False)
            image = Image.open(io.BytesIO(data))
        png, width, height = draw_card(snapshot.card, {}, image, snapshot.theme, snapshot.scale)
        return Picture(self.view, snapshot.request, width, height), [png]
