"""One live gallery of a pipeline's pictures, `pipeline.gallery()`.

Owns: which results are drawn next (those that somebody looks at, then by index), what a front end asks for, and that it
answers on after the job's end. Else it is a view as each other (view.py). Must not know: sockets, processes, how tiles
look.
"""

import base64
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twistcluster.client.views import PictureFeed
from twistcluster.jupyter.album_content import AlbumContent
from twistcluster.jupyter.fetch import Fetched, Fetcher
from twistcluster.jupyter.render_messages import WORDS, AlbumTile, AlbumTiles, Draw, OpenAlbum, Results
from twistcluster.jupyter.screen import Screen
from twistcluster.jupyter.view import Phase, Request, View
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message
from twistcluster.wire.pages import Packed

__all__ = ["AlbumView"]

DRAWN_AT_ONCE = 48
"""Items that the render process gets at a time: what somebody looks at waits for no more than them."""
DRAWN_BYTES = 8 << 20
TILE_WIDTH = 168
"""CSS pixels, until a front end says how wide its tiles are."""
EDGES = (176, 256, 352)
"""Widths of thumbnails, in device pixels: the next that suffices."""
STILL_CHARACTERS = 64
LOSSES = 8
"""So often the render process may end before the gallery goes on without."""


class AlbumView(View):
    """One gallery.

    Args:
        number: What the render process calls it.
        feed: The pictures.
        screen: Where it is shown.
        wake: Wakes the view thread.
    """

    content: AlbumContent

    def __init__(self, number: int, feed: PictureFeed, screen: Screen, wake: Callable[[], None]) -> None:
        super().__init__(number, feed, None, screen, wake, AlbumContent(feed.label, feed.progress(), feed.names))
        self._pages: dict[int, Packed] = {}
        """Results that the render process hasn't got, by their first index."""
        self._firsts: list[int] = []
        """Those indices, sorted."""
        self._more = False
        """The render process has results that aren't drawn."""
        self._sent: dict[int, int] = {}
        """First index and count of those."""
        self._losses = 0
        self._deadly: set[int] = set()
        """Pages that the render process didn't survive."""
        self._width = 0
        self._fetched: deque[Fetched] = deque()
        self._fetcher = Fetcher(feed.full, self._deliver)

    def opening(self) -> tuple[Message, list[Buffer]]:
        """What opens it in the render process."""
        return OpenAlbum(self.number), []

    def listen(self) -> None:
        """Hear everything from the start."""
        self._pages = {}
        self._firsts = []
        self._more = False
        super().listen()

    def step(self, now: float) -> None:
        """Take in what happened; after the end, what front ends ask."""
        while self.screen.asked:
            self._asked(self.screen.asked.popleft())
        while self._fetched:
            index, mime, data, error = self._fetched.popleft()
            self.screen.tell({"kind": "full", "index": index, "mime": mime, "error": error}, [data])
        super().step(now)

    def show(self, now: float) -> None:
        """Send the front end what it hasn't got, if it may get it now."""
        if self.phase is not Phase.FINISHED:
            super().show(now)
        elif self.content.changed and now >= self.screen.next_frame_at(now):
            self.screen.send(*self.content.frame(), now)

    def next_step_at(self, now: float) -> float:
        """When there is something to do without any news."""
        if self.phase is not Phase.FINISHED:
            return super().next_step_at(now)
        return self.screen.next_frame_at(now) if self.content.changed else float("inf")

    def _asked(self, what: dict[str, Any]) -> None:
        match what:
            case {"kind": "want", "indices": list(indices), "width": int(width)}:
                self._width = width
                self.content.want(indices)
            case {"kind": "full", "index": int(index)}:
                self._fetcher.ask(index)

    def _deliver(self, fetched: Fetched) -> None:
        self._fetched.append(fetched)
        self._wake()

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def _take_results(self, first: int, packed: Packed) -> None:
        self._received += packed.count
        self.content.succeeded(first, packed.count)
        if not self.content.broken and first not in self._deadly:
            if first not in self._pages:
                insort(self._firsts, first)
            self._pages[first] = packed
            self._undrawn = True

    def _draw_due(self, now: float) -> bool:
        return self._undrawn and not self._drawing and not self.content.broken

    def _next_draw_at(self, now: float) -> float:
        return now

    def _draw_requests(self, request: int) -> list[Request]:
        """The next results, if those before are drawn, and the word to draw."""
        chosen: list[Request] = []
        if not self._more:
            items = size = 0
            # Alone, if one of them may be what the render process doesn't survive.
            most = DRAWN_AT_ONCE if not self._losses else 1
            for first in dict.fromkeys([*self._looked_at(), *self._firsts[:most]]):
                if items >= most or size >= DRAWN_BYTES:
                    break
                del self._firsts[bisect_left(self._firsts, first)]
                packed = self._pages.pop(first)
                self._sent[first] = packed.count
                store = self.feed.store if packed.objects else ""
                message = Results(self.number, first, packed.count, packed.kind, packed.definitions, store)
                chosen.append((message, packed.buffers, packed.definitions))
                items += packed.count
                size += sum(memoryview(buffer).nbytes for buffer in packed.buffers)
        self._undrawn = bool(self._firsts)
        edge = next((edge for edge in EDGES if edge >= self._tile_pixels), EDGES[-1])
        chosen.append((Draw(self.number, request, edge=edge if self.screen.shell.interactive else 0), (), ()))
        return chosen

    def _looked_at(self) -> Iterator[int]:
        """The pages of what somebody looks at and hasn't got."""
        for index in self.content.looked_at:
            at = bisect_right(self._firsts, index) - 1
            if at >= 0 and index < self._firsts[at] + self._pages[self._firsts[at]].count:
                yield self._firsts[at]

    @property
    def _tile_pixels(self) -> float:
        return self._width or TILE_WIDTH * self.screen.ratio

    def answered(self, answer: Message, buffers: list[Buffer], now: float) -> None:
        """The render process did what it was asked."""
        if isinstance(answer, AlbumTiles):
            self._drawing = False
            self._more = answer.more
            if not answer.more:
                self._sent.clear()
            self._undrawn = self._undrawn or answer.more
            for tile, data in zip(answer.tiles, buffers, strict=True):
                self.content.drawn(tile, bytes(data))
            self._picture_due = self._picture_due or bool(answer.tiles)
            self._progress_at = 0.0
            return
        super().answered(answer, buffers, now)

    def render_lost(self, broken: str, now: float) -> None:
        """The render process ended. What it worked on is tried once more, each page alone, and then told of in words."""
        if broken and self.phase in {Phase.LIVE, Phase.SETTLING} and self._losses < LOSSES:
            if self._losses:
                for first, count in self._sent.items():
                    self._deadly.add(first)
                    for index in range(first, first + count):
                        self.content.drawn(AlbumTile(index, WORDS, text=f"can't be shown: {broken}"), b"")
            self._losses += 1
            broken = ""
        self._sent.clear()
        super().render_lost(broken, now)

    # ---- pictures of it ----------------------------------------------------------------------------------------------

    def _picture_wanted(self, now: float) -> bool:
        """Not while somebody looks: the page would build the gallery anew for it."""
        if self.phase is Phase.LIVE and self.screen.live and self.screen.looked_at:
            return False
        return super()._picture_wanted(now)

    def _publish(self, png: bytes, size: tuple[int, int], now: float) -> None:
        if self._still_asked and png:
            # The page puts the gallery, which lives on, where it sees this picture.
            self.content.still = base64.b64encode(png).decode("ascii")[-STILL_CHARACTERS:]
            self.screen.tell({"kind": "still", "tail": self.content.still}, [])
        super()._publish(png, size, now)

    def forget(self) -> None:
        """Let go of what it kept."""
        self.content.close()
