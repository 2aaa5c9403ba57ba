"""How jobs are opened: submits, maps, and what holds for them.

In the thread that asks: pickling, packing, naming. What is packed goes to the session's outbox, in the order of the
jobs' numbers. Owns: that. Must not know: what comes back.
"""

import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, TypeVar

from twistcluster.client import views
from twistcluster.client.adopted import AdoptedRecord
from twistcluster.client.batches import Batch, BatchRecord
from twistcluster.client.calls import function_name, opening_message
from twistcluster.client.context import ContextBook
from twistcluster.client.feeding import Feed
from twistcluster.client.functions import FunctionBook
from twistcluster.client.futures import Future
from twistcluster.client.handles import Put
from twistcluster.client.lengths import as_it_is, known_count, sized
from twistcluster.client.options import JobOptions
from twistcluster.client.outbox import Outbox, Parts
from twistcluster.client.packing import PagePacker, Puller
from twistcluster.client.patience import free
from twistcluster.client.records import JobRecord, Mends
from twistcluster.client.references import Collector, JobFutures, Reference, job_of
from twistcluster.client.requests import answer_to
from twistcluster.client.session import Session
from twistcluster.client.shares import shares_of
from twistcluster.errors import ClusterUnreachable
from twistcluster.storage.values import encode
from twistcluster.wire.functions import most_at_once
from twistcluster.wire.limits import KIB, PULL_AHEAD_BYTES
from twistcluster.wire.messages import ListJobs, OpenJob, Serve, Status
from twistcluster.wire.pages import ARGS, CALL, ONE, FramedPacker

__all__ = ["Opener"]

KNOWN: Final = 256
"""Functions of which is remembered what they need."""
KNOWN_BYTES: Final = 64 * KIB
"""One that captured more is not held for that."""

T = TypeVar("T")

_openers: "weakref.WeakSet[Opener]" = weakref.WeakSet()
_log = logging.getLogger("twistcluster")


class Opener:
    """Opens the jobs of one session."""

    def __init__(self, session: Session, functions: FunctionBook, contexts: ContextBook) -> None:
        self._session = session
        self._functions = functions
        self._contexts = contexts
        self._lock = threading.RLock()
        self._counters: dict[str, int] = {}
        self._batch: Batch | None = None
        self._asks: dict[str, Batch] = {}
        """Questions that are about to leave, by server."""
        self._puts: list[Put] = []
        """Put, and not told yet."""
        self._spare: Batch | None = None
        """The next one, made while nobody waits for it."""
        self._known: dict[bytes, Parts] = {}
        """By function, as long as the context is the same."""
        _openers.add(self)

    def submit(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[T]:
        """Add a call to the open batch."""
        with self._lock:
            batch = self._batch
            if batch is None or self._session.lost is not None:
                batch = self._open_batch()
            if not batch.knows(function, self._functions.same):
                parts, digest = self._begin(function)
                batch.learn(function, parts, digest, function_name(function), self._functions.definitions_of(digest))
            return batch.add(function, args, kwargs)

    def ask(self, server: str, value: Any) -> Future[Any]:
        """Add a question to the open batch of those for this server."""
        with self._lock:
            batch = self._asks.get(server)
            if batch is None or self._session.lost is not None:
                batch = self._open_batch(server)
            return batch.ask(value)

    def serve(self, name: str, function: Callable[..., Any], options: JobOptions) -> tuple[Serve, Parts]:
        """What sets a server up, and what that names."""
        with self._lock:
            parts, digest = self._prepare(function)
            definitions = self._functions.definitions_of(digest)
            blobs = {each: self._session.definitions.blob(each) for each in definitions}
        label, together = function_name(function), most_at_once(function)
        call = opening_message(0, digest, parts, label, options, definitions=[*definitions], together=together)
        return Serve(name, call), Parts(parts.context, {**parts.blobs, **blobs})

    def submit_alone(
        self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], options: JobOptions
    ) -> Future[T]:
        """A call that is a job of its own."""
        name = options.name or function_name(function)
        references = Collector(self._session)
        with self._lock:
            parts, digest = self._prepare(function)
            session = self._session
            call = (0, args, kwargs)
            row = encode(
                call, session.definitions, session.values, name=f"an argument of {name}", references=references
            )
            packer = FramedPacker()
            packer.add(row.data, row.buffers, row.stored)
            if references.expected:
                references.item(0, 0)
            record = self._record(name, options, count=1, shows_errors=False)
            references.bind(record)
            future: Future[T] = record.future(0)
            self._open(record, digest, parts, options, together=most_at_once(function))
        named = dict.fromkeys((*self._functions.definitions_of(digest), *row.definitions))
        Feed(self._session, record, references).page(references.page(packer.packed(CALL, tuple(named))))
        return future

    def map(
        self,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: JobOptions,
        mends: Mends | None = None,
        *,
        quiet: bool = False,
    ) -> JobRecord:
        """A call for each item. `mends` and `quiet` as in `JobRecord`."""
        if not iterables:
            raise TypeError("map wants a function and at least one iterable")
        sources = [job_of(each, self._session) for each in iterables]
        if len(sources) == 1 and sources[0] is not None:
            return self._map_job(function, sources[0], options, quiet=quiet)
        iterables = tuple(
            each if source is None else JobFutures(source) for each, source in zip(iterables, sources, strict=True)
        )
        references = Collector(self._session)
        items = sized(iterables)
        if items is None and len(iterables) > 1:
            iterables = tuple(map(as_it_is, iterables))
        shape = ONE if len(iterables) == 1 else ARGS
        source = zip(*iterables) if shape == ARGS else iter(iterables[0])  # noqa: B905 (as map does)
        with self._lock:
            parts, digest = self._prepare(function)
            also = self._functions.definitions_of(digest)
            packer = PagePacker(shape, self._session.definitions, also, references, self._session.values)
            first = [*packer.pack(items[:1])] if items else []  # before there is a job: what can't be sent makes none
            known = known_count(iterables) if items is None else len(items)
            record = self._record(options.name or function_name(function), options, known)
            record.mends, record.quiet = mends, quiet
            if mends is not None:
                mends.attach(record)
            references.bind(record)
            self._open(record, digest, parts, options, together=most_at_once(function))
        record.draw_on((each for each in sources if each is not None), through_here=True)
        feed = Feed(self._session, record, references)
        if items is None:
            if known is not None:
                source = islice(source, known)
            shares = shares_of(self._session.values)
            ahead = min(PULL_AHEAD_BYTES, shares.quarter)
            record.input = Puller(source, packer, feed.page, feed.end, ahead, feed.room, shares.first)
            record.input.start()
        elif items:
            record.input = feed
            feed.pages(iter(first))
            feed.items(items, packer, shape)
        return record

    def _map_job(
        self, function: Callable[..., Any], source: JobRecord, options: JobOptions, *, quiet: bool
    ) -> JobRecord:
        """A call for each result of a job: they don't pass through here."""
        with self._lock:
            parts, digest = self._prepare(function)
            record = self._record(options.name or function_name(function), options, source.count)
            record.quiet = quiet
            self._open(record, digest, parts, options, source.number, together=most_at_once(function))
        record.follow(source)
        return record

    def put(self, value: T) -> Reference[T]:
        """Write a value into the store, and tell the cluster."""
        session = self._session
        session.check()
        with self._lock:
            self._functions.begin()
            put = session.store.put(value)
            stored = put.stored
            reference: Reference[T] = Reference(session, session.store, stored.id, stored.nbytes, put.definitions)
            self._puts.append(put)
        session.do(self._send_puts)
        return reference

    def _send_puts(self, outbox: Outbox) -> None:
        """On the reactor's thread, before anything that may name them: a batch that was open then, too."""
        with self._lock:
            puts, self._puts = self._puts, []
        for put in puts:
            self._session.told(outbox, [put.stored], put.parts)

    def step(self, function: Callable[[], Any]) -> tuple[bytes, bytes]:
        """Digest and blob of a function that every slot shall run; what it imports travels with the context."""
        with self._lock:
            self._session.check()
            self._functions.begin()
            return self._pickled(function)

    def find(self, name: str) -> JobRecord:
        """The newest job of this name, this client's own first; or the one of this id."""
        shelf = self._session.shelf
        found = shelf.find(name)
        if found is not None:
            return found
        held = shelf.adopted(name)
        return self._adopt(name) if held is None else self._newest(name, held)

    def _newest(self, name: str, held: JobRecord) -> JobRecord:
        """A job of this name was looked up before: it, or the one that has the name now."""
        session = self._session
        try:
            answer, _ = answer_to(session.ask(ListJobs(name)))
        except ClusterUnreachable:
            return held  # what is here already is of use
        jobs = answer.jobs or []
        if not jobs:  # forgotten there
            return held
        newest = next((job for job in jobs if job.yours), jobs[0])
        return session.shelf.find(newest.id) or self._adopt(newest.id)

    def _adopt(self, name: str) -> JobRecord:
        """A job that another client sent, or this one in an earlier life."""
        session = self._session
        session.check()
        while True:
            with self._lock:
                number = session.next_number()
                record = AdoptedRecord(session, number, name)
                reply = session.adopt(record, name)
            try:
                answer, _ = answer_to(reply)
                break
            except ClusterUnreachable:
                session.shelf.over(record)
                session.check()  # else the link was lost meanwhile, and may come back
            except BaseException:
                session.shelf.over(record)
                raise
        record.found((answer.jobs or [])[0])
        answer_to(session.ask(Status()))  # what is held of the job came before this answer
        return record

    def forked(self) -> None:
        """In a forked child: what was about to leave does so in the parent."""
        free(self._lock)
        self._batch = None
        self._asks = {}
        self._puts = []

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _open_batch(self, server: str = "") -> Batch:
        session = self._session
        session.check()
        self._functions.begin()
        batch, self._spare = self._spare or self._new_batch(), None
        record = batch.record
        record.number = number = session.next_number()
        record.id = session.id_of(number)
        session.shelf.add(record)
        if server:
            batch.for_server(server)
            self._asks[server] = batch
            session.do(functools.partial(self._send_asks, server))
        else:
            self._batch = batch
            session.do(self._send_batch)
        return batch

    def _new_batch(self) -> Batch:
        return Batch(BatchRecord(self._session), self._session.definitions, self._counters, self._session.values)

    def _send_batch(self, outbox: Outbox) -> None:
        """On the reactor's thread, in the turn after the batch was opened."""
        self._send_puts(outbox)
        with self._lock:
            batch, self._batch = self._batch, None
        if batch is not None:
            self._send(batch, outbox)

    def _send_asks(self, server: str, outbox: Outbox) -> None:
        """The same of questions to a server."""
        self._send_puts(outbox)
        with self._lock:
            batch = self._asks.pop(server, None)
        if batch is not None:
            self._send(batch, outbox)

    def _send(self, batch: Batch, outbox: Outbox) -> None:
        record = batch.record
        count = len(record.numbers)
        if count:  # else its only call could not be pickled
            pages = batch.close()
            context = batch.parts[-1].context.digest if batch.parts else b""
            label, together, server = record.describe(count), batch.together, batch.server
            number, functions = record.number, batch.functions
            message = OpenJob(number, functions, context, label, count=count, together=together, server=server)
            outbox.job(message, batch.parts)
            first = 0
            for packed in pages:
                outbox.page(record.number, first, packed)
                first += packed.count
        # What nobody waits for comes when this has left.
        self._session.soon(lambda: self._sent(record, count))

    def _sent(self, record: BatchRecord, count: int) -> None:
        record.close(count)
        if self._spare is None:
            self._spare = self._new_batch()

    def _begin(self, function: Callable[..., Any]) -> tuple[Parts, bytes]:
        """A function as it is now, its digest, and the context that it finds."""
        digest, blob = self._pickled(function)
        known = self._known.get(digest)
        context, blobs = self._contexts.current()
        if known is None or known.context is not context:
            known = Parts(context, {**blobs, digest: blob})
            if len(self._known) >= KNOWN:
                self._known.clear()
            if len(blob) <= KNOWN_BYTES:
                self._known[digest] = known
        return known, digest

    def _pickled(self, function: Callable[..., Any]) -> tuple[bytes, bytes]:
        if not callable(function):
            raise TypeError(f"a function is wanted first, not {type(function).__name__}")
        digest, blob = self._functions.blob(function)
        if digest not in self._known:
            self._contexts.expect(self._functions.imports_of(function))
        return digest, blob

    def _prepare(self, function: Callable[..., Any]) -> tuple[Parts, bytes]:
        self._session.check()
        self._functions.begin()
        return self._begin(function)

    def _record(self, name: str, options: JobOptions, count: int | None, *, shows_errors: bool = True) -> JobRecord:
        session = self._session
        if options.name:
            self._mention(options.name)
            label = options.name
        else:
            self._counters[name] = number = self._counters.get(name, 0) + 1
            label = f"{name}-{number}"
        number = session.next_number()
        record = JobRecord(
            session, number, session.id_of(number), label, count=count, origin=views.origin(), shows_errors=shows_errors
        )
        record.stays = bool(options.name)
        session.shelf.add(record)
        return record

    def _mention(self, name: str) -> None:
        """Say that an older job of this name still runs."""
        older = self._session.shelf.named(name)
        if older is not None:
            _log.warning(
                "a job named %r still runs (%s); the new one has the name now. cluster.job(%r).cancel() ends the older",
                name,
                older.id,
                older.id,
            )

    def _open(
        self, record: JobRecord, digest: bytes, parts: Parts, options: JobOptions, source: int = 0, *, together: int
    ) -> None:
        message = opening_message(
            record.number,
            digest,
            parts,
            record.label,
            options,
            named=bool(options.name),
            count=record.count,
            source=source,
            together=together,
        )
        self._session.do(lambda outbox: outbox.job(message, (parts,)))
        if record.count == 0:
            record.input_ended(0)


def _after_fork() -> None:
    for opener in list(_openers):
        opener.forked()


os.register_at_fork(after_in_child=_after_fork)
