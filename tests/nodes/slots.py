"""A real slot process on a socketpair, and the messages that make it run things."""

import contextlib
import mmap
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from twistcluster.nodes.slot_page import FILE_BYTES, GROUP, LIMIT, RUNNING, STOPPED, new_words
from twistcluster.wire.codec import Codec
from twistcluster.wire.digests import digest
from twistcluster.wire.frames import FrameDecoder
from twistcluster.wire.functions import dump_function
from twistcluster.wire.limits import FRAME_BYTES
from twistcluster.wire.messages import Bite, BiteDone, Blob, Context, OpenJob, Page, Ready, SlotToWorker
from twistcluster.wire.pages import (
    ARGS,
    CALL,
    FRAMED,
    ONE,
    FramedPacker,
    Packed,
    all_plain,
    framed_items,
    pack_plain,
    unpack_plain,
)
from twistcluster.wire.values import Definitions, dumps, loads

__all__ = ["NONE", "RealSlot", "real_slot"]

NONE = (1 << 64) - 1


class RealSlot:
    def __init__(self, folder: pathlib.Path, store: str = "") -> None:
        self.link, theirs = socket.socketpair()
        page_fd = os.memfd_create("page")
        os.ftruncate(page_fd, FILE_BYTES)
        self.memory = mmap.mmap(page_fd, FILE_BYTES)
        self.words = new_words(self.memory)
        self.words[RUNNING] = self.words[LIMIT] = self.words[STOPPED] = self.words[GROUP] = NONE
        life, self.life = os.pipe()
        command = [
            sys.executable,
            "-m",
            "twistcluster.nodes.slot",
            *map(str, (theirs.fileno(), page_fd, life)),
            str(folder),
            *([store] if store else []),
        ]
        self.process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(), page_fd, life), start_new_session=True, stdin=subprocess.DEVNULL
        )
        theirs.close()
        os.close(page_fd)
        os.close(life)
        self.codec = Codec(SlotToWorker)
        self.decoder = FrameDecoder(FRAME_BYTES)
        self.inbox: list[tuple[Any, list[Any]]] = []
        self.definitions = Definitions()
        self.context = Context(b"context", b"base", "")
        self.ordinal = 0
        self.bites = 0
        self.jobs = 0
        assert isinstance(self.next()[0], Ready)

    def say(self, message: Any, *buffers: Any) -> None:
        self.link.sendall(b"".join(self.codec.encode(message, buffers)))

    def said(self, seconds: float) -> bool:
        """Whether it says something within that time."""
        return bool(self.inbox or select.select([self.link], [], [], seconds)[0])

    def next(self, seconds: float = 60.0) -> tuple[Any, list[Any]]:
        deadline = time.monotonic() + seconds
        while not self.inbox:
            ready, _, _ = select.select([self.link], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the slot said nothing"
            data = self.link.recv(1 << 20)
            if not data:
                raise EOFError
            self.inbox += map(self.codec.decode, self.decoder.feed(data))
        return self.inbox.pop(0)

    def job(self, *functions: Callable[..., Any] | bytes, context: Context | None = None, together: int = 0) -> int:
        context = context or self.context
        digests = []
        for function in functions:
            blob = function if isinstance(function, bytes) else dump_function(function, self.definitions)[0]
            digests.append(digest(blob))
            self.say(Blob(digests[-1]), blob)
        self.say(context)
        self.jobs += 1
        self.say(OpenJob(self.jobs, digests, context.digest, together=together))
        return self.jobs

    def page(self, job: int, items: list[Any], first: int = 0, shape: int = ONE, framed: bool = False) -> None:
        if framed or (shape == ONE and not all_plain(items)):
            packer = FramedPacker()
            named: set[bytes] = set()
            for item in items:
                if isinstance(item, bytes) and item.startswith(b"raw:"):
                    packer.add(item[4:])
                    continue
                encoded = dumps(item, self.definitions)
                packer.add(encoded.data, encoded.buffers)
                named.update(encoded.definitions)
            packed = packer.packed(shape, tuple(named))
            for name in named:
                self.say(Blob(name), self.definitions.blob(name))
        else:
            packed = pack_plain(items, shape)
        self.say(Page(job, first, packed.count, packed.kind, [*packed.definitions]), *packed.buffers)

    def bite(self, job: int, start: int, stop: int, alone: bool = False) -> int:
        self.bites += 1
        self.say(Bite(self.bites, job, start, stop, self.ordinal, alone))
        self.ordinal += stop - start
        return self.bites

    def interrupt(self, ordinal: int) -> None:
        """As its worker does."""
        self.words[STOPPED] = ordinal
        os.kill(self.process.pid, signal.SIGINT)

    def until_done(self) -> tuple[list[tuple[Any, list[Any]]], BiteDone]:
        said = []
        while True:
            message, buffers = self.next()
            if isinstance(message, BiteDone):
                return said, message
            said.append((message, buffers))

    def map(self, function: Callable[..., Any], items: list[Any], shape: int = ONE, framed: bool = False) -> Any:
        job = self.job(function)
        self.page(job, items, shape=shape, framed=framed)
        self.bite(job, 0, len(items))
        return self.results()

    def results(self) -> dict[int, Any]:
        """Results and failures by index."""
        return self.sorted_out(self.until_done()[0])

    def sorted_out(self, said: list[tuple[Any, list[Any]]]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for message, buffers in said:
            name = type(message).__name__
            if name == "Report":
                for number, value in enumerate(self.values(message, buffers)):
                    assert message.start + number not in found
                    found[message.start + number] = value
            elif name == "Failure":
                assert message.index not in found
                found[message.index] = message
        return found

    def values(self, message: Any, buffers: list[Any]) -> list[Any]:
        packed = Packed(message.kind, message.count, tuple(buffers))
        if packed.packing == FRAMED:
            return [loads(data, parts, self.definitions) for data, parts in framed_items(packed)]
        return unpack_plain(packed)

    def close(self) -> None:
        self.link.close()
        with contextlib.suppress(OSError):
            os.close(self.life)
        self.process.wait(60)


@contextlib.contextmanager
def real_slot(folder: pathlib.Path, store: str = "") -> Iterator[RealSlot]:
    slot = RealSlot(folder, store)
    try:
        yield slot
    finally:
        if slot.process.poll() is None:
            slot.process.send_signal(signal.SIGKILL)
        slot.close()


__all__ += ["ARGS", "CALL", "FRAMED", "ONE"]
