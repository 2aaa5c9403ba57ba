"""The tiles of a job whose results are pictures, and the one result of a job of one item. Runs in the render process.

Owns: whether results are pictures, the tiles and their thumbnails. Must not know: the link, the kernel.
"""

import io
import time
from typing import Any

from PIL import Image

from twistcluster.jupyter.card import CardTile, draw_card
from twistcluster.jupyter.inbox import Answer, Inbox
from twistcluster.jupyter.pictures import is_picture, thumbnail
from twistcluster.jupyter.render_messages import MAX_TILES, Draw, Picture, Snapshot, Tile, Tiles
from twistcluster.jupyter.reprs import in_words, repr_of
from twistcluster.storage.values import ValueStore
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.frames import Buffer
from twistcluster.wire.pages import Packed

__all__ = ["DECIDE_AFTER", "Gallery"]

DECIDE_AFTER = 16
"""Results without a picture among them, after which a job has no gallery."""
TILES_SECONDS = 0.05
"""How long one `Draw` makes thumbnails before it answers, so that tiles come steadily."""
TEXT_CHARACTERS = 120


class Gallery:
    """Tiles of the results that are pictures."""

    def __init__(self, view: int, definitions: Definitions) -> None:
        self.view = view
        self.inbox = Inbox(definitions)
        self.pictures: bool | None = None
        self.tiles: dict[int, CardTile] = {}
        self.failures: dict[int, str] = {}
        self._undecided: list[tuple[int, Any, str]] = []

    def take(self, first: int, packed: Packed, store: ValueStore | None) -> None:
        """Keep results until the next `draw`."""
        if self.pictures is not False and first < MAX_TILES:
            self.inbox.add(first, packed, store)

    def failed(self, index: int, reason: str) -> None:
        """A tile that says why there is no picture."""
        if index < MAX_TILES:
            self.failures[index] = reason

    def draw(self, request: Draw) -> Answer:
        """Make thumbnails of some of what waits."""
        until = time.monotonic() + TILES_SECONDS
        tiles: list[Tile] = []
        buffers: list[Buffer] = []
        while self.inbox:
            for index, value, error in self._next():
                if index < MAX_TILES:
                    self.failures.pop(index, None)  # it was run again
                    tile, data = self._tile(index, value, error)
                    tiles.append(tile)
                    buffers.append(data)
            if time.monotonic() > until:
                break
        result = self._only_result() if request.single else ""
        return Tiles(self.view, request.request, tiles, self.pictures, bool(self.inbox), result), buffers

    def _only_result(self) -> str:
        """The job's one result in words, unless it is a tile. Run again, the item has a newer one."""
        if not self._undecided:
            return ""
        _, value, error = self._undecided[-1]
        return error or in_words(value)

    def _next(self) -> list[tuple[int, Any, str]]:
        """The values to make tiles of now: none while it is open whether results are pictures."""
        index, value, error = self.inbox.next()
        if self.pictures:
            return [(index, value, error)]
        self._undecided.append((index, value, error))
        if is_picture(value):
            self.pictures = True
            ready, self._undecided = self._undecided, []
            return ready
        if len(self._undecided) >= DECIDE_AFTER:
            self.pictures = False
            self._undecided.clear()
            self.inbox.clear()
        return []

    def _tile(self, index: int, value: Any, error: str) -> tuple[Tile, bytes]:
        text = error
        if is_picture(value):
            try:
                thumb = thumbnail(value)
            except Exception as raised:
                text = f"broken picture: {raised}"
            else:
                self.tiles[index] = CardTile(thumb.image)
                return Tile(index, thumb.image.width, thumb.image.height), thumb.data
        text = (text or repr_of(value))[:TEXT_CHARACTERS]
        self.tiles[index] = CardTile(None, text)
        return Tile(index, 0, 0, text), b""

    def still(self, snapshot: Snapshot, last_plot: bytes) -> Answer:
        """The contact sheet."""
        tiles = dict(self.tiles) if self.pictures else {}
        if self.pictures:
            tiles.update({index: CardTile(None, reason, failed=True) for index, reason in self.failures.items()})
        plot = Image.open(io.BytesIO(last_plot)) if last_plot else None
        png, width, height = draw_card(snapshot.card, tiles, plot, snapshot.theme, snapshot.scale)
        return Picture(self.view, snapshot.request, width, height), [png]
