"""What a session asked its scheduler, until the answer comes.

On the reactor's thread, but for `Request.reply`, which any thread waits for. Owns: that list. Must not know: links.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import Future as Reply
from typing import Final

from twistcluster.client.outbox import Outbox, Parts
from twistcluster.client.patience import answer_of
from twistcluster.errors import (
    ClusterBusy,
    ClusterUnreachable,
    JobNotFound,
    JournalFull,
    ObjectLost,
    ResultsGone,
    ServerNotFound,
    StoreFull,
    TwistclusterError,
)
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Answer,
    Ask,
    Declined,
    Deny,
    ForgetJob,
    KeepJob,
    ListJobs,
    ListServers,
    Message,
    Restore,
    Serve,
    Status,
    StepDone,
)

__all__ = ["Answered", "Request", "Requests", "Step", "answer_to"]

_DECLINED: Final[dict[str, type[TwistclusterError]]] = {
    "busy": ClusterBusy,
    "unknown": JobNotFound,
    "gone": ResultsGone,
    "lost": ObjectLost,
    "full": JournalFull,
    "room": StoreFull,
    "server": ServerNotFound,
}
_AGAIN: Final = (Status, ListJobs, ListServers, Serve, Restore, ForgetJob, KeepJob, Deny)
"""Questions that may be asked twice."""


class Step:
    """What one slot answered to `everywhere`."""

    __slots__ = ("buffers", "error", "slot")

    def __init__(self, message: StepDone, buffers: list[Buffer]) -> None:
        self.slot = message.slot
        self.error = message.error
        self.buffers = buffers


Answered = tuple[Answer, list[Step]]


def answer_to(reply: Reply[Answered], deadline: float | None = None) -> Answered:
    """Wait for an answer. Who stops waiting takes the question back, if it wasn't sent yet.

    Raises:
        TimeoutError: there was no answer until `deadline`, on the monotonic clock.
    """
    try:
        return answer_of(reply, deadline)
    except (KeyboardInterrupt, TimeoutError):
        reply.cancel()
        raise


class Request:
    """A question on its way.

    Args:
        message: Makes the message of its number.
        parts: What it names.
    """

    __slots__ = ("_message", "_parts", "reply", "sent", "steps")

    def __init__(self, message: Callable[[int], Message], parts: Parts | None) -> None:
        self.reply: Reply[Answered] = Reply()
        self.steps: list[Step] = []
        self.sent = False
        self._message = message
        self._parts = parts

    def wanted(self) -> bool:
        """Whether somebody waits for the answer; from here on the question can't be taken back."""
        return self.reply.running() or self.reply.set_running_or_notify_cancel()

    def send(self, number: int, outbox: Outbox) -> None:
        """Ask."""
        if self._parts is not None:
            outbox.parts(self._parts)
        outbox.send(self._message(number))
        self.sent = True

    @property
    def may_be_asked_again(self) -> bool:
        """Whether it does no harm if it was heard before."""
        message = self._message(0)
        return not self.sent or (isinstance(message, Ask) and isinstance(message.question, _AGAIN))


class Requests:
    """Those of one session.

    Args:
        outbox: Where they go.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Request] = {}

    def ask(self, request: Request) -> None:
        """Ask now, or when there is a link again."""
        number = next(self._numbers)
        if not self._outbox.attached:
            self._waiting[number] = request
        elif request.wanted():
            self._send(number, request)

    def lost(self) -> None:
        """The link is gone, another may come: what may have been done already isn't asked again."""
        for number, request in list(self._waiting.items()):
            if not request.may_be_asked_again:
                del self._waiting[number]
                text = "the link to the cluster was lost before it answered: see whether it was done, and ask again"
                request.reply.set_exception(ClusterUnreachable(text))

    def resume(self) -> None:
        """There is a link again."""
        self._waiting = {number: request for number, request in self._waiting.items() if request.wanted()}
        for number, request in list(self._waiting.items()):
            request.steps.clear()
            self._send(number, request)

    def _send(self, number: int, request: Request) -> None:
        self._waiting[number] = request
        try:
            request.send(number, self._outbox)
        except Exception as error:  # it can't be said: whoever waits hears why
            del self._waiting[number]
            request.reply.set_exception(error)

    def fail(self, error: TwistclusterError) -> None:
        """Nobody will answer any more."""
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            if request.wanted():
                request.reply.set_exception(error)

    # ---- answers ---------------------------------------------------------------------------------------------------

    def answered(self, message: Answer, _: list[Buffer]) -> None:
        """Yes."""
        request = self._waiting.pop(message.request, None)
        if request is not None:
            request.reply.set_result((message, request.steps))

    def declined(self, message: Declined, _: list[Buffer]) -> None:
        """No."""
        request = self._waiting.pop(message.request, None)
        if request is not None:
            request.reply.set_exception(_DECLINED.get(message.code, TwistclusterError)(message.message))

    def step_done(self, message: StepDone, buffers: list[Buffer]) -> None:
        """One slot of several."""
        request = self._waiting.get(message.request)
        if request is not None:
            request.steps.append(Step(message, buffers))
