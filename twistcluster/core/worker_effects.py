"""What the worker's machine wants done.

Owns: the effects of core/worker.py. Must not know: how a node carries them out.
"""

from typing import NamedTuple

from twistcluster.core.effects import Log, Remove
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message

__all__ = ["Ended", "InterruptSlot", "KillSlot", "LimitSlot", "StartSlot", "ToSlot", "Up", "WorkerEffect"]


class Up(NamedTuple):
    """Say something to the scheduler."""

    message: Message
    buffers: tuple[Buffer, ...] = ()


class ToSlot(NamedTuple):
    """Say something to a slot."""

    slot: int
    message: Message
    buffers: tuple[Buffer, ...] = ()


class StartSlot(NamedTuple):
    """Start a process; `slot_ready` or `slot_died` follows."""

    slot: int
    delay_s: float = 0.0


class KillSlot(NamedTuple):
    """End a slot's process and all that belongs to it; nothing more is heard of it."""

    slot: int


class LimitSlot(NamedTuple):
    """Write the limit word of a slot's page; if `answer`, `limited` follows at least a millisecond later."""

    slot: int
    ordinal: int
    answer: bool = True


class InterruptSlot(NamedTuple):
    """Interrupt the item of this ordinal, if it is still the one that runs; if it isn't, nothing happens."""

    slot: int
    ordinal: int


class Ended(NamedTuple):
    """The worker shall end: the scheduler said so, or it was told to leave and is through."""

    reason: str
    refused: bool = False
    """The scheduler doesn't want it, or not any more."""


WorkerEffect = Up | ToSlot | StartSlot | KillSlot | LimitSlot | InterruptSlot | Ended | Remove | Log
