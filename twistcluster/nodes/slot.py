"""The slot: a process that runs items one at a time, as `python -m twistcluster.nodes.slot LINK_FD PAGE_FD LIFE_FD
FOLDER STORE`.

Owns: the process (its life, its signals, its streams) and the loop over what its worker says. LINK_FD is its end of
the link to its worker, PAGE_FD the shared page (the ordinal of the item that runs, the limit, what was reached), LIFE_FD the reading end
of a pipe that its worker holds open; FOLDER is a path that this slot alone may use, STORE that of
the host's store (empty: there is none). Must not know: scheduling, Twisted, asyncio (unless an item is a coroutine).

A slot never outlives its worker: the kernel itself kills the slot's process group when LIFE_FD meets its end (0.8 ms,
whatever user code does, C code that holds the GIL included). A child that an item forks is no slot: it lets go of all of
this at once, and if it comes out of the item it ends before it could run another or answer for this one.
"""

import contextlib
import faulthandler
import fcntl
import mmap
import os
import pathlib
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final, NamedTuple

from twistcluster.errors import StoreFull
from twistcluster.nodes.slot_batches import Waiting
from twistcluster.nodes.slot_bites import Biter
from twistcluster.nodes.slot_errors import ContextError, TakenBackError
from twistcluster.nodes.slot_jobs import JobPage, SlotJob, Store
from twistcluster.nodes.slot_link import Flusher, Results, SlotLink
from twistcluster.nodes.slot_output import Capture, catch_streams
from twistcluster.nodes.slot_page import FILE_BYTES, LIMIT, NO_ITEM, REACHED, RUNNING, TRACE_AT, PrintedTail, new_words
from twistcluster.nodes.slot_steps import Steps
from twistcluster.storage.values import Row, ValueStore, encode
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Bite,
    Blob,
    Context,
    DropPages,
    DropValues,
    EndJob,
    Forget,
    Freed,
    Message,
    OpenJob,
    Page,
    Ready,
    Step,
    StepDone,
    Values,
)

__all__ = ["Slot", "main"]

BRINGING: Final = (Blob, Context, OpenJob, Page, Values)
"""What brings something, and takes nothing away."""
OOM_SCORE: Final = 800
"""Of 1000: as if it used four fifths of the memory on top of what it uses."""
WAIT_PART: Final = 0.125
"""Of the time that a group took: how long the next one waits to be as large. Less than 1 ms isn't worth it."""
WAIT_S: Final = 0.01
"""It never waits longer."""
STRAY: Final = b"a child process that an item forked came out of the item: it is ended here (end it with os._exit)\n"


class LastGroup(NamedTuple):
    """The items that went together last.

    Several programs that ask a server ask anew as soon as they are answered, one a little after the other. If the first of
    them went alone, or with those that came meanwhile, the others would wait for it, and from then on there would be two
    groups of half the size, by turns.
    """

    jobs: int = 0
    """Of so many jobs, with those that came while it ran."""
    seconds: float = 0.0
    """What they took."""

    def pause(self) -> float:
        """Seconds to wait for as many again: less than is saved if they come, and little if they don't."""
        return min(self.seconds * WAIT_PART, WAIT_S) if self.jobs > 1 else 0.0


class Slot:
    """What a slot does with each message."""

    def __init__(self, link: SlotLink, page: mmap.mmap, folder: pathlib.Path, values: ValueStore | None = None) -> None:
        self._link = link
        self._inbox: deque[tuple[Message, list[Buffer]]] = deque()
        """What came and is still to be done."""
        words = self._words = new_words(page)
        self._forked = False
        self._store = Store(values)
        if values is not None:
            values.restore = self._restore
        self._capture = Capture(self._running, PrintedTail(page))
        self._results = Results(link, self._capture, self._encode)
        self._flusher = Flusher(self._results)
        self._biter = Biter(self._store, self._results, words)
        self._last = LastGroup()
        self._steps = Steps(self._store, self._biter.coroutines, folder)
        self._do: dict[type[Message], Callable[[Any, list[Buffer]], None]] = {
            Blob: self._blob,
            Forget: self._forget,
            Context: self._context,
            OpenJob: self._open_job,
            Page: self._page,
            DropPages: self._drop_pages,
            Values: self._values,
            DropValues: self._drop_values,
            EndJob: self._end_job,
            Freed: self._freed,
            Bite: self._bite,
            Step: self._step,
        }

    def run(self) -> None:
        """Serve until the link ends."""
        catch_streams(self._capture)
        os.register_at_fork(after_in_child=self._in_child)
        self._flusher.start()
        signal.signal(signal.SIGINT, self._biter.stops.interrupted)
        values = self._store.values
        self._say(Ready(os.getpid(), maker=b"" if values is None else values.maker))
        do, inbox = self._do, self._inbox
        try:
            while (came := self._link.read()) is not None:
                inbox += came
                while inbox:
                    message, buffers = inbox.popleft()
                    do[type(message)](message, buffers)
        finally:
            if self._forked:
                os.write(2, STRAY)
                os._exit(1)

    def _restore(self, name: bytes, _deadline: float | None) -> None:
        """A value isn't here: it may lie on another host. Its item waits, and hasn't begun: it may be taken back meanwhile.

        Raises:
            StoreFull: it has no room here.
            TakenBackError: the item is another's now, or nobody's.
        """
        if not self._link.reads_here:  # a thread of the item's own may not wait, and finds it missing
            return
        words = self._words
        ordinal = words[RUNNING]
        if ordinal == NO_ITEM:
            self._link.bring(name)
            return
        words[REACHED] = ordinal  # in this order: who reads that nothing runs reads next what was reached
        words[RUNNING] = NO_ITEM
        try:
            self._link.bring(name)
        finally:
            words[RUNNING] = ordinal
        if ordinal >= words[LIMIT]:
            raise TakenBackError

    def _in_child(self) -> None:
        """In a child that an item forked: nothing that it does is the slot's any more."""
        self._forked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._link.let_go()
        self._capture.let_go()
        self._words.release()  # from here on the loops over items raise before they run another

    def _running(self) -> int | None:
        ordinal: int = self._words[0]
        return None if ordinal == NO_ITEM else ordinal

    def _encode(self, value: Any) -> Row:
        """A plain value, into the store if it is large and there is room."""
        store = self._store
        try:
            return encode(value, store.definitions, store.values, copy=False)
        except StoreFull:
            return encode(value, store.definitions, None, copy=False)

    def _say(self, message: Message, buffers: Iterable[Buffer] = ()) -> None:
        with self._link.lock:
            self._link.put(message, [*buffers])
            self._link.write()

    def _blob(self, message: Blob, buffers: list[Buffer]) -> None:
        self._store.blobs[message.digest] = buffers[0]

    def _forget(self, message: Forget, _: list[Buffer]) -> None:
        self._store.forget(message.digests)

    def _context(self, message: Context, _: list[Buffer]) -> None:
        self._store.contexts[message.digest] = message

    def _open_job(self, message: OpenJob, _: list[Buffer]) -> None:
        self._store.jobs[message.job] = SlotJob(self._store, message)

    def _page(self, message: Page, buffers: list[Buffer]) -> None:
        store = self._store
        for digest in message.definitions:
            store.definitions.learn(digest, store.blob(digest))
        store.jobs[message.job].add(JobPage(message, buffers))

    def _drop_pages(self, message: DropPages, _: list[Buffer]) -> None:
        job = self._store.jobs.get(message.job)
        if job is not None:
            job.drop(message.firsts)

    def _values(self, message: Values, buffers: list[Buffer]) -> None:
        store = self._store
        for digest in message.definitions:
            store.definitions.learn(digest, store.blob(digest))
        store.keep_values(message, buffers)

    def _drop_values(self, message: DropValues, _: list[Buffer]) -> None:
        self._store.drop_values(message)

    def _end_job(self, message: EndJob, _: list[Buffer]) -> None:
        self._store.jobs.pop(message.job, None)

    def _freed(self, message: Freed, _: list[Buffer]) -> None:
        if self._store.values is not None:
            self._store.values.freed(message.ids)

    def _bite(self, message: Bite, _: list[Buffer]) -> None:
        job = self._store.jobs[message.job]
        broken: ContextError | None = None
        try:
            self._steps.prepare(job.message.context)
        except ContextError as error:
            broken = error
        self._flusher.begin()
        if job.together and broken is None and not message.alone:
            bites = self._waiting(Waiting(message, job))
            started = time.perf_counter()
            self._biter.run_waiting(bites)
            seconds = time.perf_counter() - started
            self._inbox += self._link.read_now()
            came = {each.job for each, _ in self._inbox if isinstance(each, Bite)}
            self._last = LastGroup(len(came.union(waiting.bite.job for waiting in bites)), seconds)
        else:
            self._biter.run(message, job, broken)
        self._flusher.end()

    def _waiting(self, first: Waiting) -> list[Waiting]:
        """A bite, and those that wait behind it and may go with it, of whatever job.

        What these need is taken in on the way; what is said to be needed no more is done after them.
        """
        found, late = [first], list[tuple[Message, list[Buffer]]]()
        ended: set[int] = set()
        inbox, room = self._inbox, first.job.message.together - first.items
        if room > 0:
            inbox += self._link.read_now()
        deadline = time.perf_counter() + self._last.pause()
        while room > 0 and (inbox or (len(found) < self._last.jobs and self._comes(deadline))):
            message, buffers = inbox[0]
            if isinstance(message, Bite):
                other = Waiting(message, self._store.jobs[message.job])
                if not other.goes_with(first):
                    break
                found.append(other)
                room -= other.items
            elif isinstance(message, EndJob | Freed):
                late.append((message, buffers))
                ended.update([message.job] if isinstance(message, EndJob) else [])
            elif not isinstance(message, BRINGING) or (isinstance(message, OpenJob) and message.job in ended):
                break
            else:
                self._do[type(message)](message, buffers)
            inbox.popleft()
        inbox.extendleft(reversed(late))
        return found

    def _comes(self, deadline: float) -> bool:
        """Whether something more comes until then."""
        left_ms = int((deadline - time.perf_counter()) * 1e3)
        if left_ms > 0:
            self._inbox += self._link.read_now(left_ms)
        return bool(self._inbox)

    def _step(self, message: Step, _: list[Buffer]) -> None:
        error, buffers = self._steps.step(message)
        self._say(StepDone(message.request, "", error), buffers)


def die_with_worker(life_fd: int) -> None:
    """Have the kernel kill this process and all of its group when the worker's end of the pipe is closed."""
    fcntl.fcntl(life_fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life_fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life_fd, fcntl.F_SETFL, fcntl.fcntl(life_fd, fcntl.F_GETFL) | os.O_ASYNC)
    closed = select.poll()
    closed.register(life_fd, select.POLLIN)
    if closed.poll(0):  # before that was set up
        os.killpg(os.getpgrp(), signal.SIGKILL)


def tell_last_words(page_fd: int) -> None:
    """Have a signal that ends this process (SIGSEGV, SIGABRT …) write into the page where the code was."""
    os.lseek(page_fd, TRACE_AT, os.SEEK_SET)  # ours alone: the worker has closed this description, and maps it
    faulthandler.enable(page_fd, all_threads=False)


def offer_to_be_killed() -> None:
    """Where the machine runs out of memory the kernel shall pick a slot, not a notebook's kernel or the cluster."""
    with contextlib.suppress(OSError, ValueError):
        file = pathlib.Path("/proc/self/oom_score_adj")
        file.write_text(str(max(OOM_SCORE, int(file.read_text("ascii")))), "ascii")


def own_session() -> None:
    """Leave the worker's session and group, if whoever started us hasn't seen to it."""
    if os.getsid(0) != os.getpid():
        with contextlib.suppress(PermissionError):
            os.setsid()


def main(arguments: list[str]) -> int:
    """Run a slot on three inherited descriptors."""
    link_fd, page_fd, life_fd = (int(argument) for argument in arguments[:3])
    own_session()
    die_with_worker(life_fd)
    offer_to_be_killed()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until there is an item to interrupt
    for fd in (link_fd, page_fd, life_fd):
        os.set_inheritable(fd, False)
    page = mmap.mmap(page_fd, FILE_BYTES)
    tell_last_words(page_fd)
    del sys.argv[1:]
    # What items call `__main__` is theirs: this module goes on under its own name.
    sys.modules["__main__"] = ModuleType("__main__")
    values = ValueStore(arguments[4]) if arguments[4:] and arguments[4] else None
    Slot(SlotLink(link_fd), page, pathlib.Path(arguments[3]), values).run()
    return 0


if __name__ == "__main__":
    from twistcluster.nodes import slot  # noqa: PLW0406 (what runs is the module, not this `__main__`)

    # Without clean-up: threads that items left behind must not keep a slot alive whose worker has let go of it.
    os._exit(slot.main(sys.argv[1:]))
