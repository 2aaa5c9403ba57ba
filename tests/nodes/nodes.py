"""A worker node on a reactor of its own, with real slots, and a scheduler that is a script."""

import pathlib
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.nodes.memory import Memory
from twistcluster.nodes.worker import WorkerNode
from twistcluster.wire.digests import digest
from twistcluster.wire.functions import dump_function
from twistcluster.wire.messages import Blob, Context, Hello, Lease, OpenJob, Page, Report, Welcome
from twistcluster.wire.pages import FramedPacker, Packed, all_plain, framed_items, pack_plain, unpack_plain
from twistcluster.wire.values import Definitions, dumps, loads


class Script:
    """The scheduler's end: keeps what the worker says."""

    local = True
    receiving = False

    def __init__(self, node: "LiveWorker") -> None:
        self.state = LinkState.OPEN
        self.node = node
        self.said: list[tuple[Any, list[Any]]] = []

    def send(self, message: Any, buffers: Any = ()) -> None:
        self.said.append((message, list(buffers)))

    def flush(self) -> None: ...

    def anything_came(self) -> bool:
        return False

    def close(self, reason: str = "") -> None:
        self.state = LinkState.CLOSED


class LiveWorker:
    def __init__(
        self,
        folder: pathlib.Path,
        slots: int = 2,
        resources: dict[str, float] | None = None,
        memory: Callable[[], Memory | None] = lambda: None,
    ) -> None:
        self.reactor = EPollReactor()
        self.turn = Turn(self.reactor)
        self.ends: list[str] = []
        self.node = WorkerNode(
            self.reactor,
            self.turn,
            name="test",
            slots=slots,
            folder=folder,
            resources=resources,
            on_end=self.ends.append,
            memory=memory,
        )
        self.link = Script(self)
        self.definitions = Definitions()
        self.jobs = 0
        self.context = Context(b"context", b"base", "")
        self.reactor.startRunning(installSignalHandlers=False)
        self.node.start(self.link)
        assert isinstance(self.link.said[0][0], Hello)
        self.hear(Welcome("epoch", "cluster", "", "3", "0"))

    def hear(self, message: Any, *buffers: Any) -> None:
        self.turn.run(self.node.on_message, self.link, message, list(buffers))

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Turn the reactor until the condition holds."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, (
                f"waited in vain; the worker said {[m for m, _ in self.link.said][-20:]}"
            )
            self.turn_once()
        return value

    def turn_once(self, wait_s: float = 0.05) -> None:
        self.reactor.runUntilCurrent()
        timeout = self.reactor.timeout()
        self.reactor.doIteration(wait_s if timeout is None else min(wait_s, timeout))

    def job(
        self, function: Any, items: list[Any], context: Context | None = None, lease: bool = True, **options: Any
    ) -> int:
        context = context or self.context
        blob = dump_function(function, self.definitions)[0]
        self.jobs += 1
        self.hear(Blob(digest(blob)), blob)
        self.hear(context)
        self.hear(OpenJob(self.jobs, [digest(blob)], context.digest, **options))
        for first in range(0, len(items), 4096):
            self.page(self.jobs, first, items[first : first + 4096])
        if lease:
            self.hear(Lease(self.jobs, self.jobs, 0, len(items)))
        return self.jobs

    def page(self, job: int, first: int, items: list[Any]) -> None:
        if all_plain(items):
            packed = pack_plain(items)
        else:
            packer = FramedPacker()
            for item in items:
                encoded = dumps(item, self.definitions)
                packer.add(encoded.data, encoded.buffers)
            packed = packer.packed()
        self.hear(Page(job, first, packed.count, packed.kind), *packed.buffers)

    def said(self, kind: type) -> list[Any]:
        return [message for message, _ in self.link.said if isinstance(message, kind)]

    def finished(self, lease: int) -> int:
        return sum(m.count for m in self.said(Report) if m.lease == lease)

    def results(self, lease: int) -> dict[int, Any]:
        found = {}
        for message, buffers in self.link.said:
            if isinstance(message, Report) and message.lease == lease:
                packed = Packed(message.kind, message.count, tuple(buffers))
                if packed.packing:
                    values = [loads(data, parts, self.definitions) for data, parts in framed_items(packed)]
                else:
                    values = unpack_plain(packed)
                found.update(zip(range(message.start, message.start + message.count), values, strict=True))
        return found

    def close(self) -> None:
        stopped = self.node.stop()
        self.until(lambda: stopped.called)
        self.reactor.stop()
        self.reactor.fireSystemEvent("shutdown")
        self.reactor.runUntilCurrent()
        self.reactor.disconnectAll()
