"""What makes a slot one of a context: its base, once, and the `everywhere` steps that it has run.

Owns: which steps ran here, in which order, and what came of each. Must not know: how modules and files are put in place
(slot_context.py), bites.
"""

import pathlib
from types import CoroutineType
from typing import NamedTuple

from twistcluster.errors import NotPicklable, ProtocolError
from twistcluster.nodes.slot_bites import Coroutines
from twistcluster.nodes.slot_context import set_up
from twistcluster.nodes.slot_errors import ContextError, describe, result_info
from twistcluster.nodes.slot_jobs import Store, unloadable
from twistcluster.wire.frames import Buffer
from twistcluster.wire.functions import load_step
from twistcluster.wire.messages import Context, ErrorInfo, Step
from twistcluster.wire.values import dumps

__all__ = ["Steps"]


class Outcome(NamedTuple):
    """What came of a step: its pickled result, or its error and the pickled exception."""

    error: ErrorInfo | None
    buffers: list[Buffer]
    definitions: tuple[bytes, ...] = ()
    broke: bool = False
    """The step itself failed: this slot can't run items of its context. (A result that can't travel is no harm.)"""


class Steps:
    """The steps that this slot has run."""

    def __init__(self, store: Store, coroutines: Coroutines, folder: pathlib.Path) -> None:
        self._store = store
        self._folder = folder
        self._coroutines = coroutines
        self._base: bytes | None = None
        self._unusable: ContextError | None = None
        self._ran: list[bytes] = []
        self._outcomes: dict[bytes, Outcome] = {}
        self._ready: dict[bytes, ContextError | None] = {}

    def prepare(self, digest: bytes) -> None:
        """Run what this context asks for and this slot hasn't run.

        Raises:
            ContextError: something of it failed; so does every item of the context here.
        """
        if digest not in self._ready:
            self._ready[digest] = self._prepare(self._context(digest))
        broken = self._ready[digest]
        if broken is not None:
            raise broken

    def step(self, message: Step) -> tuple[ErrorInfo | None, list[Buffer]]:
        """Run one step now (unless it ran as part of its context already); returns its error and what it gave."""
        try:
            if not message.once:
                self.prepare(message.context)
            else:
                self._bind(self._context(message.context))
        except ContextError as error:
            known = self._outcomes.get(message.function)
            if known is None:
                return error.info, [*error.buffers]
        outcome = self._run(message.function, once=True) if message.once else self._outcomes[message.function]
        return outcome.error, outcome.buffers

    def _context(self, digest: bytes) -> Context:
        try:
            return self._store.contexts[digest]
        except KeyError:
            raise ProtocolError(f"a context was named that was never sent ({digest.hex()})") from None

    def _prepare(self, context: Context) -> ContextError | None:
        try:
            self._bind(context)
        except ContextError as error:
            return error
        for digest in context.steps:
            if digest not in self._outcomes:
                self._outcomes[digest] = self._run(digest, once=False)
            outcome = self._outcomes[digest]
            if outcome.broke and outcome.error is not None:
                return ContextError(_as_context(outcome.error), outcome.buffers, outcome.definitions)
        return None

    def _bind(self, context: Context) -> None:
        """Put the base of the first context in place: a slot is of one base for life."""
        if self._base is None:
            self._base = context.base
            try:
                set_up(context, self._store.blob, self._folder)
            except Exception as error:
                self._unusable = ContextError(describe(error, "context"))
        if self._unusable is not None:
            raise self._unusable
        if context.base != self._base:
            raise ProtocolError("a slot was asked to be of a second context")

    def _run(self, digest: bytes, once: bool) -> Outcome:
        try:
            function = load_step(self._store.blob(digest), self._store.definitions)
        except BaseException as error:
            return Outcome(unloadable(error), [], broke=True)
        try:
            result = function()
            if type(result) is CoroutineType:
                result = self._coroutines.run(result)
        except BaseException as error:
            return self._failed(error)
        try:
            encoded = dumps(result, self._store.definitions, name="the result")
        except BaseException as error:
            # What `everywhere` sets up may well return a model or a connection: what matters is that it is there.
            info = result_info(error) if isinstance(error, NotPicklable) else describe(error, "result")
            return Outcome(info if once else None, [])
        return Outcome(None, [encoded.data, *encoded.buffers], encoded.definitions)

    def _failed(self, error: BaseException) -> Outcome:
        info = describe(error)
        try:
            encoded = dumps(error, self._store.definitions, name="the exception")
        except BaseException:
            return Outcome(info, [], broke=True)
        return Outcome(info, [encoded.data, *encoded.buffers], encoded.definitions, broke=True)


def _as_context(info: ErrorInfo) -> ErrorInfo:
    """What is told of an item whose slot could not be prepared."""
    return ErrorInfo("context", info.type, f"an `everywhere` step failed in this slot: {info.message}", info.traceback)
