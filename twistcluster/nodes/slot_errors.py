"""What is told of an error that an item met: text for the person, and the pickled exception where there is one.

Owns: the remote traceback, without our own frames. Must not know: links, bites.
"""

import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Literal, TypeGuard

from twistcluster.errors import NotPicklable, StoreFull, TwistclusterError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo

__all__ = ["ArgumentError", "ContextError", "TakenBackError", "Why", "describe", "own_frame", "result_info"]

Why = Literal["raised", "argument", "result", "context", "stopped"]

MESSAGE_CHARACTERS: Final = 16_384
TRACEBACK_CHARACTERS: Final = 65_536
OWN_MODULES: Final = "twistcluster."


class ArgumentError(TwistclusterError):
    """An item's arguments could not be unpickled; the cause says why."""


class TakenBackError(TwistclusterError):
    """An item was taken back while one of its arguments was waited for: it runs elsewhere, or not at all."""


class ContextError(TwistclusterError):
    """A slot could not be prepared for an item; `info` says why, `buffers` hold the pickled exception."""

    def __init__(self, info: ErrorInfo, buffers: Sequence[Buffer] = (), definitions: Sequence[bytes] = ()) -> None:
        super().__init__(info.message)
        self.info = info
        self.buffers = buffers
        self.definitions = definitions


def own_frame(name: object) -> TypeGuard[str]:
    """Whether a frame of this module is ours, by the module's name."""
    return isinstance(name, str) and (name.startswith(OWN_MODULES) or name == "twistcluster")


def describe(error: BaseException, why: Why = "raised") -> ErrorInfo:
    """Everything about an error that can be told in text."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except Exception as second:
        message = f"<its text can't be made: {type(second).__name__}>"
    return ErrorInfo(why, _clean(name, 1024), _clean(message, MESSAGE_CHARACTERS), _traceback(error))


def result_info(error: NotPicklable | StoreFull) -> ErrorInfo:
    """The failure of an item whose result can't travel."""
    return ErrorInfo("result", type(error).__name__, _clean(str(error), MESSAGE_CHARACTERS))


def _traceback(error: BaseException) -> str:
    tb = _users_frames(error.__traceback__)
    try:
        lines = traceback.format_exception(type(error), error, tb)
    except Exception:  # a __str__ or __repr__ of the user's that raises, a recursion that is too deep
        lines = traceback.format_tb(tb)
    return _clean("".join(lines), TRACEBACK_CHARACTERS)


def _users_frames(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is neither ours nor that of the loop that ran a coroutine for us."""
    while tb is not None:
        name = tb.tb_frame.f_globals.get("__name__")
        if not own_frame(name) and not str(name).startswith("asyncio."):
            break
        tb = tb.tb_next
    return tb


def _clean(text: str, limit: int) -> str:
    """Cut to a limit, keeping head and tail; a lone surrogate can't travel."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half:,} characters cut ...\n{text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
