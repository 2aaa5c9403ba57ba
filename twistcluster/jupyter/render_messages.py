"""What a kernel and its render process say to each other, one tagged union for each direction.

Owns: names and fields. Travels in wire frames, so results, thumbnails and pictures are buffers, never fields. Must not
know: who sends when, how anything is drawn.

A `view` is numbered by the kernel. A `request` counts what the kernel asked for: the render process works strictly in
order, so the oldest request without an answer is the one it works on.
"""

from typing import Literal

import msgspec

from twistcluster.wire.messages import Message

__all__ = [
    "DROPPED",
    "MAX_TILES",
    "PICTURE",
    "SHEET",
    "WORDS",
    "AlbumTile",
    "AlbumTiles",
    "Card",
    "CloseView",
    "Definition",
    "Draw",
    "FailedItem",
    "Frame",
    "KernelToRender",
    "OpenAlbum",
    "OpenGallery",
    "OpenPlot",
    "Picture",
    "RenderToKernel",
    "Results",
    "Snapshot",
    "Surroundings",
    "Tile",
    "Tiles",
]

MAX_TILES = 600
"""A gallery shows the first of a job's items."""
SHEET = 100
"""So many tiles are on the contact sheet of an album."""


# ---- kernel to render process -----------------------------------------------------------------------------------------


class Surroundings(Message, tag=True):
    """Where functions and classes are imported from: the kernel's own folder and `sys.path`."""

    folder: str
    path: list[str]


class OpenGallery(Message, tag=True):
    """A view that shows results as tiles, where they are pictures."""

    view: int


class OpenAlbum(Message, tag=True):
    """A view of a pipeline's pictures: a tile for each item, however many there are."""

    view: int


class OpenPlot(Message, tag=True):
    """A view drawn by a function of the user. One buffer: the function's blob (wire/functions.py)."""

    view: int


class Definition(Message, tag=True):
    """One buffer: a class definition that results name by digest."""

    digest: bytes


class Results(Message, tag=True):
    """Items `first` to `first + count` of the view's job. Buffers: their packed results."""

    view: int
    first: int
    count: int
    kind: int
    definitions: tuple[bytes, ...] = ()
    store: str = ""
    """Folder of the store in which large ones are."""


class FailedItem(Message, tag=True):
    """A tile that says why there is no picture."""

    view: int
    index: int
    reason: str


class Draw(Message, tag=True):
    """Take in what arrived and draw it: answered by `Tiles` (gallery), `AlbumTiles` (album) or `Frame` (plot)."""

    view: int
    request: int
    ratio: float = 1.0
    """Device pixels per CSS pixel."""
    single: bool = False
    """The job has exactly one item: a gallery tells its result in words, if that is no picture."""
    edge: int = 0
    """An album's tiles are that many pixels wide; 0: nobody looks at them, only those of the contact sheet are made."""


class Card(Message):
    """The words of a view's still picture."""

    label: str
    state: str
    summary: str
    detail: str
    """Rate, time left or elapsed, at the right."""
    parts: list[float]
    """Fractions of the bar: done, failed, cancelled."""
    errors: list[str]
    lines: list[str]
    note: str = ""
    result: str = ""
    """Of a job of one item, in a few lines."""
    captions: dict[int, str] = msgspec.field(default_factory=dict)
    """Of tiles, where their number doesn't say enough."""


class Snapshot(Message, tag=True):
    """The whole view as one picture, answered by `Picture`.

    Buffers: none, or a PNG that stands in for a plot which can't be drawn any more.
    """

    view: int
    request: int
    card: Card
    theme: Literal["light", "dark"]
    scale: int
    """Pixels per unit: 1 for a passing picture (few colours), 2 for the one that stays."""


class CloseView(Message, tag=True):
    """Nothing more will be asked of this view."""

    view: int


# ---- render process to kernel -----------------------------------------------------------------------------------------


class Tile(Message):
    """A thumbnail: its buffer stands at the same place in the frame. No width: `text` stands in for a picture."""

    index: int
    width: int
    height: int
    text: str = ""


class Tiles(Message, tag=True):
    """What became of the results taken in. Buffers: one encoded thumbnail a tile."""

    view: int
    request: int
    tiles: list[Tile]
    pictures: bool | None
    """Whether the results are pictures; None while that is open."""
    more: bool
    """Results still wait: ask again."""
    result: str = ""
    """What the only item of a job returned, in words; nothing where it isn't there yet or is a picture."""


PICTURE = 1
WORDS = 3
DROPPED = 4
"""What a result is in an album (2 is an error, which is no result): a picture, something else, left out by a filter."""

Box = tuple[float, float, float, float]


class AlbumTile(Message, array_like=True):
    """A result of a pipeline."""

    index: int
    kind: int
    width: int = 0
    """Of the whole picture, in its own pixels, in which boxes are, too."""
    height: int = 0
    labels: tuple[tuple[str, float | None, Box | None], ...] = ()
    """What was recognised, the best first: label, score, box (left, top, right, bottom)."""
    text: str = ""
    """What stands in for a picture."""


class AlbumTiles(Message, tag=True):
    """Some of the results taken in. Buffers: one encoded thumbnail a tile, empty where there is none."""

    view: int
    request: int
    tiles: list[AlbumTile]
    more: bool
    """Results still wait: ask again."""


class Frame(Message, tag=True):
    """A drawn plot. Buffers: the PNG, or none where nothing could be drawn yet."""

    view: int
    request: int
    width: int
    height: int
    error: str = ""
    """What the draw function raised, if it did."""
    more: bool = False


class Picture(Message, tag=True):
    """The still picture. Buffers: the PNG. Width and height in CSS pixels."""

    view: int
    request: int
    width: int
    height: int


KernelToRender = (
    Surroundings | OpenGallery | OpenAlbum | OpenPlot | Definition | Results | FailedItem | Draw | Snapshot | CloseView
)
RenderToKernel = Tiles | AlbumTiles | Frame | Picture
