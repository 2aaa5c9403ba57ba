"""What one live view shows, and what of it a front end hasn't got yet.

Owns: the status in words, errors, printed lines, thumbnails, the last plot; frames (what is new), snapshots (all there
is) and the words of the still picture. Written by the view thread; `snapshot` may be called in any thread. Must not know:
when anything is sent, who draws.
"""

import itertools
from collections import deque
from typing import Any

from twistcluster.client.views import Progress
from twistcluster.jupyter import progress as words
from twistcluster.jupyter.render_messages import MAX_TILES, Card
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo

__all__ = ["Content"]

ERRORS_SHOWN = 5
ERRORS_KEPT = 1000
"""Of those that have no tile: the others are counted, and the job keeps them all."""
LINES_KEPT = 200
LINES_IN_PICTURE = 8
LINE_CHARACTERS = 400
MESSAGE_CHARACTERS = 240
TILES_A_FRAME = 48


class Content:
    """What a view shows.

    Args:
        label: The job's.
        progress: How far it is at first.
        plot: Whether this is a plot; else it is a gallery, if results are pictures.
    """

    def __init__(self, label: str, progress: Progress, *, plot: bool) -> None:
        self.label = label
        self.progress = progress
        self.broken = ""
        """Why nothing is drawn any more, if so."""
        self.plot_error = ""
        self.result = ""
        """What the only item of a job returned, in words, where that isn't a picture."""
        self.plot: dict[str, Any] | None = None
        self.pictures: bool | None = False if plot else None
        """Whether results are pictures; None while that is open."""
        self._is_plot = plot
        self._errors: dict[int, ErrorInfo] = {}
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._tiles: dict[int, dict[str, Any]] = {}
        # What the front end hasn't got yet.
        self._new_tiles: deque[int] = deque()
        self._new_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._lines_anew = False
        self._new_plot = False
        self._new_errors = False
        self._new_status = True
        self._status = self._make_status()

    # ---- what comes ------------------------------------------------------------------------------------------------

    def succeeded(self, first: int, count: int) -> None:
        """Items have results: those that had failed before were run again."""
        for index in [index for index in self._errors if first <= index < first + count]:
            del self._errors[index]
            self._new_errors = True

    def failed(self, index: int, info: ErrorInfo) -> str:
        """An item failed; the words of its tile, if there is to be one."""
        if index >= MAX_TILES and len(self._errors) >= ERRORS_KEPT:
            return ""
        self._errors[index] = info
        self._new_errors = True
        self.result = ""
        if index >= MAX_TILES or self._is_plot:
            return ""
        reason = _told(info)
        self.tile(index, 0, 0, reason, b"", failed=True)
        return reason

    def failures(self) -> list[tuple[int, str]]:
        """The failed items that are tiles, and why."""
        if self._is_plot:
            return []
        return [(index, _told(info)) for index, info in self._errors.items() if index < MAX_TILES]

    def printed(self, index: int, text: str) -> None:
        """What an item printed."""
        for line in text.splitlines()[-LINES_KEPT:]:
            told = f"{index}: {line[:LINE_CHARACTERS]}"
            self._lines.append(told)
            self._new_lines.append(told)

    def tile(self, index: int, width: int, height: int, text: str, data: bytes, *, failed: bool = False) -> None:
        """A thumbnail, or words in place of one."""
        self._tiles[index] = {
            "index": index, "width": width, "height": height, "text": text, "failed": failed, "data": data,
        }  # fmt: skip
        self._new_tiles.append(index)

    def plotted(self, width: int, height: int, png: bytes) -> None:
        """A plot was drawn."""
        self.plot = {"width": width, "height": height, "data": png}
        self._new_plot = True

    def hear_anew(self) -> None:
        """All is about to be told again."""
        self._lines.clear()
        self._new_lines.clear()
        self._lines_anew = True

    def look(self, progress: Progress) -> bool:
        """Take the job's progress; whether it is news."""
        changed = progress != self.progress
        self.progress = progress
        status = self._make_status()
        if status != self._status:
            self._status = status
            self._new_status = True
        return changed

    # ---- what goes out -----------------------------------------------------------------------------------------------

    @property
    def more_than_counts(self) -> bool:
        """Whether there is news beside the counts."""
        return bool(self.pictures and self._new_tiles) or self._new_plot or self._new_errors or bool(self._new_lines)

    @property
    def changed(self) -> bool:
        """Whether there is anything that the front end hasn't got."""
        return self._new_status or self.more_than_counts

    def repeat_status(self) -> None:
        """Send the status once more."""
        self._new_status = True

    def frame(self) -> tuple[dict[str, Any], list[Buffer]]:
        """What is new, and its buffers: thumbnails (some of them, if there are many), then the plot."""
        frame: dict[str, Any] = {"status": self._status}
        buffers: list[Buffer] = []
        if self.pictures:
            taken = dict.fromkeys(self._new_tiles.popleft() for _ in range(min(TILES_A_FRAME, len(self._new_tiles))))
            tiles = [self._tiles[index] for index in taken]
            frame["tiles"] = [{key: tile[key] for key in tile if key != "data"} for tile in tiles]
            buffers.extend(tile["data"] for tile in tiles)
        if self._new_plot and self.plot:
            frame["plot"] = {"width": self.plot["width"], "height": self.plot["height"]}
            buffers.append(self.plot["data"])
        if self._new_errors:
            frame["errors"] = self._told_errors()
        if self._new_lines:
            frame["lines"] = list(self._new_lines)
            frame["lines_anew"] = self._lines_anew
            self._lines_anew = False
            self._new_lines.clear()
        self._new_plot = self._new_errors = self._new_status = False
        return frame, buffers

    def snapshot(self) -> dict[str, Any]:
        """Everything that is shown now: what a front end starts from."""
        return {
            "status": self._status,
            "tiles": [tile for _, tile in sorted(self._tiles.copy().items())] if self.pictures else [],
            "errors": self._told_errors(),
            "lines": list(self._lines.copy()),
            "plot": self.plot,
        }

    def card(self, note: str) -> Card:
        """The words of the still picture."""
        status = self._status
        errors = [f"{where}  {what}" for where, what in self._told_errors()]
        if status["errors_hidden"]:
            errors.append(status["errors_hidden"])
        return Card(
            label=self.label,
            state=status["state"],
            summary=", ".join(said for said in (status["counts"], status["failures"]) if said),
            detail=status["detail"],
            parts=status["parts"] or [],
            errors=[*status["plot_error"].splitlines()[:2], *errors],
            lines=list(self._lines.copy())[-LINES_IN_PICTURE:],
            note=" · ".join(said for said in (status["note"], note) if said),
            result=status["result"],
        )

    def text(self, note: str) -> str:
        """The view in a few lines."""
        summary = words.summary(self.label, self.progress)
        if result := self._told_result():
            summary += f":\n{result}" if "\n" in result else f": {result}"
        lines = [summary, self.broken or self.plot_error, note]
        return "\n".join(line for line in lines if line)

    # ---- words -------------------------------------------------------------------------------------------------------

    def _make_status(self) -> dict[str, Any]:
        progress = self.progress
        tiles, gallery = self._told_gallery()
        hidden = progress.failed - ERRORS_SHOWN
        return {
            "label": self.label,
            "state": progress.state,
            "counts": words.counts(progress),
            "failures": words.failures(progress),
            "detail": words.detail(progress),
            "parts": words.parts(progress),
            "note": self._note(),
            "result": self._told_result(),
            "plot": self._is_plot,
            "plot_error": self.broken or self.plot_error,
            "gallery": gallery,
            "tiles": tiles,
            "errors_hidden": f"and {hidden:,} more: %cluster errors {self.label}" if hidden > 0 else "",
        }

    def _told_gallery(self) -> tuple[int, str]:
        """How many places for tiles there are, and how many pictures are in them, in words."""
        if not self.pictures:
            return 0, ""
        count = self.progress.count
        places = min(MAX_TILES, max(max(self._tiles, default=-1) + 1, count or 0))
        shown = sum(1 for tile in self._tiles.values() if not tile["failed"])
        of = f" of {count:,}" if count is not None else ""
        only = f" (the first {MAX_TILES} items)" if count is not None and count > MAX_TILES else ""
        return places, f"{shown:,}{of} shown{only}"

    @property
    def is_single(self) -> bool:
        """Whether the job has exactly one item, whose result is told."""
        return self.progress.count == 1 and not self._is_plot

    def _told_result(self) -> str:
        return self.result if self.is_single and not self.pictures else ""

    def _note(self) -> str:
        if self.progress.state in words.ENDED:
            return "cancelled" if self.progress.state == "cancelled" else ""
        return self.progress.waiting

    def _told_errors(self) -> list[tuple[str, str]]:
        first = itertools.islice(sorted(self._errors.copy().items()), ERRORS_SHOWN)
        return [(f"item {index}", _told(info)) for index, info in first]


def _told(info: ErrorInfo) -> str:
    line = " ".join((f"{info.type}: {info.message}" if info.message else info.type).split())
    return line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 1] + "…"
