"""Structured logs of a node: one line an event, with its fields.

Owns: the lines' format and the observer that writes them. A log that can't be written (a full disk) never stops a
node: its lines are dropped and counted, and the first line that can be written again says how many. Lines that come
by the thousand and are alike are counted too (nodes/sparing.py), so that nobody fills a disk by making mistakes. Must
not know: what is logged.

A line: `2026-05-01T12:00:00.000Z info worker joined name=local slots=4`; a traceback follows, indented. Or, for programs,
one JSON object: `{"time": "2026-05-01T12:00:00.000Z", "level": "info", "event": "worker joined", "name": "local", "slots": 4}`;
a traceback is its `traceback`.
"""

import contextlib
import datetime as dt
import json
import os
import select
import stat
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.logger import Logger, LogLevel, formatEvent, globalLogBeginner

from twistcluster.nodes.sparing import Sparing

__all__ = ["LOG_BYTES", "LineLog", "log_event", "start_logging"]

LOG_BYTES: Final = 16 * 1024 * 1024
"""Of a log file that is ours alone."""
LINE_CHARACTERS: Final = 8192
"""A longer text is cut: what a peer said must not fill the disk."""
KIND_CHARACTERS: Final = 200
_LEVELS: Final = {"debug": LogLevel.debug, "info": LogLevel.info, "warning": LogLevel.warn, "error": LogLevel.error}
_WRITTEN: Final = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}
_logger = Logger(namespace="twistcluster")


class LineLog:
    """An observer of Twisted's logger that writes lines to a file descriptor, those of `level` and above."""

    def __init__(
        self,
        fd: int,
        level: str = "info",
        limit_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        form: str = "text",
    ) -> None:
        self._clock = clock
        self._written = {"text": _text_line, "json": _json_line}[form]
        self._sparing = Sparing()
        self._fd = fd
        self._least = _LEVELS[level]
        self._limit_bytes = limit_bytes
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped = 0
        self._whole = True

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        level = _WRITTEN.get(event.get("log_level", LogLevel.info))
        namespace = str(event.get("log_namespace", ""))
        if level is None or (level in {"debug", "info"} and not namespace.startswith("twistcluster")):
            return
        if event.get("log_level", LogLevel.info) < self._least:
            return
        now = self._clock()
        for kind, count in self._sparing.over(now):
            self._write(self._written("warning", f"{count:,} more lines like this were not written: {kind}", {}, ""))
        if self._sparing.admits(_kind(event), now):
            self._write(self._written(level, *_parts(event)))

    def _write(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        if self.dropped:
            text = f"{self.dropped} lines of this log could not be written and are lost"
            data = (b"" if self._whole else b"\n") + self._written("warning", text, {}, "").encode() + data
        if self._limit_bytes is not None:
            data = self._bounded(data, self._limit_bytes)
        written = self._put(data)
        if written == len(data):
            self.dropped = 0
            self._whole = True
        else:
            self.dropped += 1
            self._whole = self._whole and written == 0

    def _put(self, data: bytes) -> int:
        """Write what can be written at once: a pipe that nobody reads must not stop the node either."""
        at = 0
        with contextlib.suppress(OSError):
            while at < len(data) and self._poll.poll(0):
                at += os.write(self._fd, data[at : at + select.PIPE_BUF])
        return at

    def _bounded(self, data: bytes, limit_bytes: int) -> bytes:
        """Begin the file anew where it would grow too large."""
        with contextlib.suppress(OSError):
            state = os.fstat(self._fd)
            if stat.S_ISREG(state.st_mode) and state.st_size + len(data) > limit_bytes:
                os.ftruncate(self._fd, 0)
                return self._written("info", f"the log was begun anew at {limit_bytes:,} bytes", {}, "").encode() + data
        return data


def start_logging(fd: int = 2, level: str = "info", limit_bytes: int | None = None, form: str = "text") -> LineLog:
    """Write this process's events to a file descriptor from now on.

    Args:
        fd: standard error, if not given.
        level: "debug", "info", "warning" or "error": of those that are written.
        limit_bytes: at which a file, opened for appending, is begun anew.
        form: "text" for people, "json" for programs.
    """
    observer = LineLog(fd, level, limit_bytes, form=form)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)  # type: ignore[list-item]
    return observer


def log_event(level: str, event: str, fields: Mapping[str, object]) -> None:
    """Log what a machine or a node says: a short text, and its fields by name."""
    _logger.emit(_LEVELS[level], "{event}", event=event, fields=fields)


def _kind(event: Mapping[str, Any]) -> str:
    """What lines are alike in: their text without its fields."""
    return str(event.get("event") or event.get("log_format") or event.get("log_namespace"))[:KIND_CHARACTERS].replace(
        "\n", " "
    )


def _parts(event: Mapping[str, Any]) -> tuple[str, Mapping[str, object], str]:
    """An event's text, its fields, and its traceback if it has one."""
    fields, failure = event.get("fields"), event.get("log_failure")
    return (
        formatEvent(event),  # type: ignore[arg-type]
        fields if isinstance(fields, Mapping) else {},
        "" if failure is None else str(failure.getTraceback()).rstrip(),
    )


def _text_line(level: str, text: str, fields: Mapping[str, object], traceback: str) -> str:
    text += "".join(f" {name}={_shown(value)}" for name, value in fields.items())
    if traceback:
        text += "\n" + traceback
    return f"{_now()} {level} " + _cut(text).replace("\n", "\n    ") + "\n"


def _json_line(level: str, text: str, fields: Mapping[str, object], traceback: str) -> str:
    plain = {
        name: value if isinstance(value, int | float | None) else _cut(str(value)) for name, value in fields.items()
    }
    line = {"time": _now(), "level": level, "event": _cut(text)}
    more = {"traceback": _cut(traceback)} if traceback else {}
    return json.dumps({**plain, **line, **more}) + "\n"


def _cut(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS else text[:LINE_CHARACTERS] + " [cut]"


def _shown(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(character.isspace() for character in text) else text


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
