"""Pieces of frames on their way to a socket: as many in one call as the system takes, none of them copied.

Owns: how they are given to the socket, and what is left of them. Must not know: links, when something is sent.
"""

import collections
import itertools
import socket
from collections.abc import Sequence
from typing import Final

from twistcluster.wire.frames import Buffer

__all__ = ["PIECES", "drop_sent", "nbytes", "send_pieces"]

PIECES: Final = 512
"""For one `sendmsg`; the system's limit is 1024."""


def nbytes(buffer: Buffer) -> int:
    """The bytes of a piece."""
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)


def send_pieces(sock: socket.socket, pieces: list[Buffer]) -> Sequence[Buffer]:
    """Give the socket what it takes; return what it doesn't. What a broken one was given is gone."""
    for at in range(0, len(pieces), PIECES):
        batch = pieces[at : at + PIECES] if at or len(pieces) > PIECES else pieces
        size = sum(map(nbytes, batch)) if len(batch) > 1 else nbytes(batch[0])
        try:
            sent = sock.sendmsg(batch) if len(batch) > 1 else sock.send(batch[0])
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return ()  # the reader meets the end, after what the peer said last (why it refused, perhaps)
        if sent < size:
            return [*_after(batch, sent), *pieces[at + PIECES :]]
    return ()


def _after(pieces: Sequence[Buffer], sent: int) -> list[Buffer]:
    """What is left of the pieces after the first `sent` bytes."""
    for number, end in enumerate(itertools.accumulate(map(nbytes, pieces))):
        if end > sent:
            part = memoryview(pieces[number]).cast("B")
            return [part[len(part) - (end - sent) :], *pieces[number + 1 :]]
    return []


def drop_sent(backlog: collections.deque[memoryview], sent: int) -> bool:
    """Drop the first bytes of what waits; whether that was whole pieces only (then the socket may take more)."""
    while sent:
        view = backlog[0]
        if sent < len(view):
            backlog[0] = view[sent:]
            return False
        sent -= len(view)
        backlog.popleft()
    return True
