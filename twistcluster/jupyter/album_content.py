"""What a gallery of pictures shows, and what of it a front end hasn't got yet.

Design:
- A front end knows of every tile what it needs to lay out, count and filter (*facts*: kind, labels, scores: some bytes);
  it gets a tile itself (thumbnail, name, size, boxes, reason) only when it asks for it, because somebody looks there.
- What it asked for and isn't there yet goes to it when it comes.
- Tiles are kept encoded, in a spool: memory is bounded.

Owns: facts, labels, wishes, the words of the contact sheet. Written by the view thread; `snapshot` may be called in any
thread. Must not know: when anything is sent, who draws.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from twistcluster.client.texts import spelled_out
from twistcluster.client.views import Progress
from twistcluster.jupyter.content import ERRORS_KEPT, Content
from twistcluster.jupyter.render_messages import DROPPED, PICTURE, SHEET, WORDS, AlbumTile, Card
from twistcluster.jupyter.spool import Spool
from twistcluster.jupyter.texts import count_of, told_label
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo

__all__ = ["ERROR", "AlbumContent"]

ERROR = 2
FACTS_A_FRAME = 2000
TILES_A_FRAME = 32
WISHES = 400
FIRST_WISHES = 60
"""What is sent before a front end says what it shows."""
LABELS_IN_FACTS = 12
BOXES_IN_TILE = 60
REASON_CHARACTERS = 4000
CAPTION_CHARACTERS = 60


class Fact(NamedTuple):
    """What is known of a tile."""

    kind: int
    labels: tuple[float | int | None, ...]
    """Numbers of labels, each followed by its best score."""
    place: tuple[int, int]
    """Of the tile itself, in the spool; of no length, where it has none."""


class AlbumContent(Content):
    """What a gallery shows.

    Args:
        label: The job's.
        progress: How far it is at first.
        names: What pictures are called.
    """

    def __init__(self, label: str, progress: Progress, names: Callable[[int], str]) -> None:
        self.still = ""
        """The end of the last picture as text, by which a page finds it."""
        self._names = names
        self._spool = Spool()
        self._facts: dict[int, Fact] = {}
        self._highest = -1
        self._labels: dict[str, int] = {}
        self._kinds = [0] * 5
        self._new_facts: dict[int, None] = {}
        self._labels_sent = 0
        self._wanted = dict.fromkeys(range(FIRST_WISHES))
        self._ready: dict[int, None] = {}
        super().__init__(label, progress, plot=False)

    # ---- what comes ------------------------------------------------------------------------------------------------

    def failed(self, index: int, info: ErrorInfo) -> str:
        """An item failed; the words of its tile."""
        info = msgspec.structs.replace(info, message=spelled_out(info.message), traceback=spelled_out(info.traceback))
        if len(self._errors) < ERRORS_KEPT:
            self._errors[index] = info
            self._new_errors = True
        message = info.message.strip()
        kind = info.type.rpartition(".")[2]
        reason = (f"{kind}: {message}" if message else kind)[:REASON_CHARACTERS]
        self._learn(index, ERROR, (), {"size": (0, 0), "labels": (), "text": reason})
        return reason

    def drawn(self, tile: AlbumTile, thumbnail: bytes) -> None:
        """What a result is."""
        if tile.kind == DROPPED:
            self._learn(tile.index, DROPPED, (), None)
            return
        best: dict[int, float | None] = {}
        for label, score, _ in tile.labels:
            number = self._labels.setdefault(label, len(self._labels))
            # The best comes first.
            if number not in best and len(best) < LABELS_IN_FACTS:
                best[number] = None if score is None else round(score, 4)
        told = {"size": (tile.width, tile.height), "labels": tile.labels[:BOXES_IN_TILE], "text": tile.text}
        self._learn(tile.index, tile.kind, tuple(itertools.chain(*best.items())), told, thumbnail)

    def _learn(
        self, index: int, kind: int, labels: tuple[Any, ...], told: dict[str, Any] | None, thumbnail: bytes = b""
    ) -> None:
        old = self._facts.get(index)
        if old is not None:
            self._kinds[old.kind] -= 1
        self._kinds[kind] += 1
        place = (0, 0)
        if told is not None:
            try:
                place = self._spool.put(msgspec.msgpack.encode((told, thumbnail)))
            except OSError as error:
                # The words need less room than the picture.
                self.plot_error = f"no room for more tiles in the temporary folder: {error.strerror}"
        self._highest = max(self._highest, index)
        self._facts[index] = Fact(kind, labels, place)
        self._new_facts[index] = None
        if index in self._wanted and place[1]:
            self._ready[index] = None

    # ---- what a front end asks for ---------------------------------------------------------------------------------

    def want(self, indices: Iterable[Any]) -> None:
        """A front end shows these, and hasn't got them; what it wanted before it doesn't want any more."""
        asked = itertools.islice((index for index in indices if isinstance(index, int) and index >= 0), WISHES)
        self._wanted = dict.fromkeys(asked)
        self._ready = {
            index: None for index in self._wanted if index in self._facts and self._facts[index].place[1]
        }  # fmt: skip

    @property
    def looked_at(self) -> list[int]:
        """What is wanted and isn't there."""
        return [index for index in self._wanted if index not in self._ready]

    # ---- what goes out -----------------------------------------------------------------------------------------------

    @property
    def more_than_counts(self) -> bool:
        """Whether there is news beside the counts."""
        return super().more_than_counts or bool(self._new_facts) or bool(self._ready)

    def frame(self) -> tuple[dict[str, Any], list[Buffer]]:
        """What is new, and its buffers: the thumbnails of tiles that were asked for."""
        frame, buffers = super().frame()
        if self._new_facts:
            chosen = list(itertools.islice(self._new_facts, FACTS_A_FRAME))
            for index in chosen:
                del self._new_facts[index]
            frame["facts"] = [self._row(index) for index in chosen]
            if self._labels_sent < len(self._labels):
                frame["labels"] = list(itertools.islice(self._labels, self._labels_sent, None))
                frame["labels_from"] = self._labels_sent
                self._labels_sent = len(self._labels)
        tiles = []
        for index in list(itertools.islice(self._ready, TILES_A_FRAME)):
            del self._ready[index]
            self._wanted.pop(index, None)
            told, thumbnail = msgspec.msgpack.decode(self._spool.get(self._facts[index].place))
            tiles.append({"index": index, "name": self._name(index), **told})
            buffers.append(thumbnail)
        if tiles:
            frame["tiles"] = tiles
        return frame, buffers

    def snapshot(self) -> dict[str, Any]:
        """Everything that a front end starts from: it asks for tiles itself."""
        return {
            "status": self._status,
            "labels": list(self._labels.copy()),
            "facts": [self._row(index) for index in sorted(self._facts.copy())],
            "errors": self._told_errors(),
            "lines": list(self._lines.copy()),
            "still": self.still,
        }

    def _row(self, index: int) -> list[Any]:
        fact = self._facts[index]
        return [index, fact.kind, *fact.labels]

    def _name(self, index: int) -> str:
        try:
            return spelled_out(self._names(index)) or f"picture {index}"
        except Exception:
            return f"picture {index}"

    # ---- the contact sheet -------------------------------------------------------------------------------------------

    def card(self, note: str) -> Card:
        """The words of the contact sheet."""
        card = super().card(note)
        shown = [index for index in sorted(self._facts) if self._facts[index].kind != DROPPED][:SHEET]
        more = sum(self._kinds) - self._kinds[DROPPED] - len(shown)
        notes = [f"and {more:,} more" if more > 0 else "", self._told_left_out(), card.note]
        captions = {index: self._caption(index) for index in shown}
        return msgspec.structs.replace(card, captions=captions, note=" · ".join(word for word in notes if word))

    def text(self, note: str) -> str:
        """The gallery in a few lines."""
        pictures, words = self._kinds[PICTURE], self._kinds[WORDS]
        told = [count_of(pictures, "picture")] if pictures or not words else []
        if words:
            told.append(count_of(words, "other result" if pictures else "result"))
        counted = ", ".join([*told, *([self._told_left_out()] if self._kinds[DROPPED] else [])])
        return "\n".join([super().text(note), *([counted] if sum(self._kinds) else [])])

    def _caption(self, index: int) -> str:
        fact = self._facts[index]
        if fact.labels:
            told = msgspec.msgpack.decode(self._spool.get(fact.place))[0] if fact.place[1] else {}
            label, score, _ = told["labels"][0]
            return told_label(label, score)[:CAPTION_CHARACTERS]
        return self._name(index)[:CAPTION_CHARACTERS]

    def _told_left_out(self) -> str:
        return f"{self._kinds[DROPPED]:,} left out" if self._kinds[DROPPED] else ""

    def _told_gallery(self) -> tuple[int, str]:
        """How many places there are."""
        return self._highest + 1 if self.progress.count is None else self.progress.count, ""

    def close(self) -> None:
        """Nobody asks for tiles any more."""
        self._wanted = {}
        self._ready = {}
        self._spool.close()
