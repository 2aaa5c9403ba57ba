"""The tiles of a pipeline's pictures. Runs in the render process.

Owns: what becomes of a result: a thumbnail with what was recognised, words, or nothing where a filter left it out; and
the contact sheet. An *album* is what `pipeline.gallery()` shows: every item has a place in it, unlike in the gallery of
`job.show()` (gallery.py), which looks whether results are pictures and stops at some hundreds. Must not know: the link,
the kernel, what the front end has.
"""

import io
import time
from typing import Any

from PIL import Image, ImageDraw

from twistcluster.client.texts import spelled_out
from twistcluster.jupyter.card import CardTile, draw_card
from twistcluster.jupyter.inbox import Answer, Inbox
from twistcluster.jupyter.pictures import PIXELATED_BELOW, is_picture, thumbnail
from twistcluster.jupyter.render_messages import (
    DROPPED,
    PICTURE,
    SHEET,
    WORDS,
    AlbumTile,
    AlbumTiles,
    Draw,
    Picture,
    Snapshot,
)
from twistcluster.jupyter.reprs import repr_of
from twistcluster.jupyter.texts import told_label
from twistcluster.storage.values import ValueStore
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.frames import Buffer
from twistcluster.wire.pages import Packed

__all__ = ["Album", "label_color"]

SHEET_EDGE = 160
TILES_SECONDS = 0.05
"""How long one `Draw` makes thumbnails before it answers, so that tiles come steadily."""
FIRST_SECONDS = 0.01
"""The first ones are waited for."""
PREVIEW_EDGE = 256
"""What recognizers send along is taken as it is."""
LABELS = 100
"""Of one picture."""
LABEL_CHARACTERS = 80
TEXT_CHARACTERS = 400
COLORS = ((240, 190, 40), (64, 160, 255), (250, 110, 90), (70, 190, 120), (200, 120, 240), (60, 200, 210))

Labels = tuple[tuple[str, float | None, tuple[float, float, float, float] | None], ...]


def label_color(label: str) -> tuple[int, int, int]:
    """The colour of a label's boxes; album.js chooses the same."""
    return COLORS[sum(map(ord, label)) % len(COLORS)]


class Album:
    """A tile for each result."""

    def __init__(self, view: int, definitions: Definitions) -> None:
        self.view = view
        self.inbox = Inbox(definitions)
        self.sheet: dict[int, CardTile] = {}
        """The first tiles, by index."""
        self._drawn = False

    def take(self, first: int, packed: Packed, store: ValueStore | None) -> None:
        """Keep results until the next `draw`."""
        self.inbox.add(first, packed, store)

    def failed(self, index: int, reason: str) -> None:
        """A tile that says why there is no picture."""
        self._keep(index, CardTile(None, reason, failed=True))

    def draw(self, request: Draw) -> Answer:
        """Make tiles of some of what waits."""
        until = time.monotonic() + (TILES_SECONDS if self._drawn else FIRST_SECONDS)
        tiles: list[AlbumTile] = []
        buffers: list[Buffer] = []
        while self.inbox:
            index, value, error = self.inbox.next()
            tile, data = self._tile(index, value, error, request.edge)
            tiles.append(tile)
            buffers.append(data)
            if time.monotonic() > until:
                break
        self._drawn = self._drawn or bool(tiles)
        return AlbumTiles(self.view, request.request, tiles, bool(self.inbox)), buffers

    def _tile(self, index: int, value: Any, error: str, edge: int) -> tuple[AlbumTile, bytes]:
        if _is_left_out(value):
            self.sheet.pop(index, None)
            return AlbumTile(index, DROPPED), b""
        if not error:
            try:
                made = self._picture(index, value, edge)
            except Exception as raised:
                error = spelled_out(f"can't be shown: {type(raised).__name__}: {raised}")
            else:
                if made is not None:
                    return made
        text = (error or repr_of(value))[:TEXT_CHARACTERS]
        self._keep(index, CardTile(None, text))
        return AlbumTile(index, WORDS, text=text), b""

    def _picture(self, index: int, value: Any, edge: int) -> tuple[AlbumTile, bytes] | None:
        """A result that is a picture, or has one; None for another."""
        labels: Labels = ()
        if hasattr(type(value), "__tile__"):
            preview, (width, height), found = value.__tile__()
            width, height = int(width), int(height)
            labels = _checked(found)
            if not preview:
                words = "  ".join(told_label(label, score) for label, score, _ in labels[:3]) or repr_of(value)
                self._keep(index, CardTile(None, words))
                return AlbumTile(index, WORDS, width, height, labels, words[:TEXT_CHARACTERS]), b""
            source: Any = bytes(preview)
        else:
            source = _source(value)
            if source is None:
                return None
            width, height = _size(source)
        listed = self._listed(index)
        data = b""
        if edge or listed:
            pixels = max(edge, SHEET_EDGE)
            if ready := _fits(source, pixels):
                data = source
            if listed or not ready:
                thumb = thumbnail(source, (pixels, pixels * 3 // 4))
                data = data or thumb.data
                if listed:
                    self._keep(index, CardTile(_boxed(thumb.image, (width, height), labels)))
        return AlbumTile(index, PICTURE, width, height, labels), data

    def _listed(self, index: int) -> bool:
        """Whether it is among the first, as far as is known."""
        return len(self.sheet) < SHEET or index in self.sheet or index < max(self.sheet)

    def _keep(self, index: int, tile: CardTile) -> None:
        if self._listed(index):
            self.sheet[index] = tile
            if len(self.sheet) > SHEET:
                del self.sheet[max(self.sheet)]

    def still(self, snapshot: Snapshot, last_plot: bytes) -> Answer:
        """The contact sheet."""
        png, width, height = draw_card(snapshot.card, self.sheet, None, snapshot.theme, snapshot.scale)
        return Picture(self.view, snapshot.request, width, height), [png]


def _source(value: Any) -> Any:
    """What a thumbnail is made of: of several frames, the first; None where the value is no picture."""
    if isinstance(value, tuple | list) and value and not isinstance(value[0], int | float | str):
        value = value[0]
    if is_picture(value):
        return value
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray" and value.ndim in {2, 3} and value.size > 1:
        from twistcluster.images.arrays import from_array

        return from_array(value)
    return None


def _fits(source: Any, pixels: int) -> bool:
    """Whether it is a thumbnail already, encoded as browsers know it."""
    if not isinstance(source, bytes) or not is_picture(source):
        return False
    with Image.open(io.BytesIO(source)) as image:
        return max(image.size) <= max(PREVIEW_EDGE, pixels) and image.getexif().get(0x0112, 1) == 1


def _is_left_out(value: Any) -> bool:
    # By name: where there is none, its module needn't be loaded, and the first tile comes sooner.
    return type(value).__name__ == "Dropped" and type(value).__module__ == "twistcluster.images.plan"


def _size(source: Any) -> tuple[int, int]:
    if isinstance(source, Image.Image):
        return source.size
    if isinstance(source, bytes | bytearray | memoryview):
        with Image.open(io.BytesIO(source)) as image:
            turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8}
            return (image.height, image.width) if turned else image.size
    return int(source.shape[1]), int(source.shape[0])


def _checked(found: Any) -> Labels:
    """What a model found, as text and finite numbers: what can't be shown is no reason to lose the picture."""
    checked = []
    for label, score, box in list(found)[:LABELS]:
        number = None if score is None else float(score)
        if number is not None and number - number != 0:
            number = None
        corners = None
        if box is not None:
            left, top, right, bottom = (float(side) for side in box)
            if left - left == top - top == right - right == bottom - bottom == 0:
                corners = (left, top, right, bottom)
        checked.append((spelled_out(str(label))[:LABEL_CHARACTERS], number, corners))
    return tuple(checked)


def _boxed(image: Image.Image, size: tuple[int, int], labels: Labels) -> Image.Image:
    """The thumbnail with its boxes, for the contact sheet."""
    boxes = [(label, box) for label, _, box in labels if box is not None]
    if not boxes or not all(size):
        return image
    image = image.convert("RGB")
    if max(image.size) < PIXELATED_BELOW:
        factor = -(-SHEET_EDGE // max(image.size))
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    across, down = image.width / size[0], image.height / size[1]
    for label, (left, top, right, bottom) in reversed(boxes):
        corners = (
            min(left, right) * across,
            min(top, bottom) * down,
            max(left, right) * across,
            max(top, bottom) * down,
        )
        draw.rectangle(corners, outline=label_color(label), width=2)
    return image
