"""`everywhere`: a step that runs in every slot now.

Owns: which workers have still to answer, and telling the client when all have. Must not know: how a slot runs a step.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.workers import Worker
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Answer, Context, Everywhere, Step, StepDone

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Steps"]


@dataclass(slots=True, eq=False)
class Request:
    client: Client
    request: int
    waiting: set[Worker]


class Steps:
    """Steps on their way."""

    __slots__ = ("_next", "_requests", "_scheduler")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._requests: dict[int, Request] = {}
        self._next = 1

    def begin(self, client: Client, request: int, question: Everywhere, context: Context) -> None:
        """Send a step to all workers."""
        scheduler = self._scheduler
        workers = list(scheduler.leasing.workers.values())
        number, self._next = self._next, self._next + 1
        self._requests[number] = Request(client, request, set(workers))
        for worker in workers:
            scheduler.supply.context(worker, context)
            scheduler.supply.blobs(worker, [question.function])
            scheduler.send(worker.peer, Step(number, question.context, question.function, question.once))
        self._finish_if_all_answered(number)

    def done(self, worker: Worker, message: StepDone, buffers: tuple[Buffer, ...]) -> None:
        """A slot ran a step."""
        entry = self._requests.get(message.request)
        if entry is None:
            return
        if message.slot and entry.client.peer is not None:
            said = StepDone(entry.request, f"{worker.name}/{message.slot}", message.error, message.remaining)
            self._scheduler.send(entry.client.peer, said, buffers)
        if message.remaining == 0:
            entry.waiting.discard(worker)
        self._finish_if_all_answered(message.request)

    def lost(self, worker: Worker) -> None:
        """A worker won't answer any more."""
        for number, entry in list(self._requests.items()):
            entry.waiting.discard(worker)
            self._finish_if_all_answered(number)

    def _finish_if_all_answered(self, number: int) -> None:
        entry = self._requests[number]
        if not entry.waiting:
            del self._requests[number]
            if entry.client.peer is not None:
                self._scheduler.send(entry.client.peer, Answer(entry.request))
