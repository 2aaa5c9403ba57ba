"""Servers: functions that live in the cluster and answer what clients ask them.

A client that asks needs neither the function's code nor its libraries: its job names the server, and here what that was
set up with is put in. From then on it is a job like any other: of its client, durable, stopped, fairly served. So a server that is
replaced, or ends, has no effect on what it was asked before. Owns: which servers there are, what each of their jobs is made like.
Must not know: how jobs run.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from twistcluster.core.clients import Client
from twistcluster.core.jobs import Job
from twistcluster.core.supply import Supply
from twistcluster.core.tries import check_limits
from twistcluster.errors import ProtocolError
from twistcluster.wire.limits import SERVER_NAME_CHARACTERS, SERVERS
from twistcluster.wire.messages import (
    Answer,
    Context,
    Declined,
    ErrorInfo,
    ListServers,
    OpenJob,
    Serve,
    ServerStatus,
    Unserve,
)

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Server", "Servers", "is_refused"]

NOWHERE = Context(b"", b"", "")
"""The context of items that no server is there for."""


@dataclass(slots=True, eq=False)
class Server:
    """A function that answers."""

    name: str
    call: OpenJob
    """What each of its jobs is made like."""
    context: Context
    client: str
    """Name of the client that set it up."""
    created: float
    asked: int = 0
    parts: list[bytes] = field(init=False)
    """The blobs that it consists of."""

    def __post_init__(self) -> None:
        self.parts = [*self.call.functions, *self.call.definitions, *Supply.parts(self.context)]


@dataclass(slots=True, eq=False)
class Waiting:
    """A client that waits for its server to be in the journal."""

    client: Client
    request: int
    record: int
    """Which record that is in."""


class Servers:
    """Those of one scheduler."""

    __slots__ = ("_recorded", "_scheduler", "_servers", "_trouble", "_waiting")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._servers: dict[str, Server] = {}
        self._waiting: list[Waiting] = []
        self._recorded = 0
        self._trouble = ""

    def __len__(self) -> int:
        return len(self._servers)

    def asked(self, client: Client, request: int, question: Serve | Unserve | ListServers) -> None:
        """A client has a question about servers."""
        match question:
            case Serve():
                self._serve(client, request, question)
            case Unserve():
                self._unserve(client, request, question.name)
            case ListServers():
                found = [self._status(self._servers[name], client) for name in sorted(self._servers)]
                self._say(client, Answer(request, servers=found))

    # ---- what they are made of -------------------------------------------------------------------------------------

    def _serve(self, client: Client, request: int, question: Serve) -> None:
        scheduler, name, call = self._scheduler, question.name, question.call
        wrong = self._wrong(name)
        if wrong:
            self._say(client, Declined(request, "invalid", wrong))
            return
        context = client.contexts.get(call.context)
        if context is None or len(call.functions) != 1 or call.source or call.server:
            raise ProtocolError(f"server {name!r} has one function, and a context that was sent")
        if not all(0 < amount < math.inf for amount in call.resources.values()):
            raise ProtocolError(f"server {name!r} needs {call.resources}: an amount is a number above 0")
        check_limits(call)
        server = Server(name, call, context, client.name, scheduler.now)
        if not client.blobs.issuperset(server.parts):
            raise ProtocolError(f"server {name!r} names blobs that were not sent")
        scheduler.supply.use(server.parts)
        self._end(name)
        self._servers[name] = server
        scheduler.log("info", "server set up", server=name, client=client.name)
        if scheduler.keeping.on:
            scheduler.keeping.serves(server, scheduler.supply)
            self._answer_later(client, request)
        else:
            self._say(client, Answer(request))

    def _wrong(self, name: str) -> str:
        """Why a server can't have this name, in words."""
        if not name or name != name.strip() or not name.isprintable() or len(name) > SERVER_NAME_CHARACTERS:
            return (
                f"A server's name is 1 to {SERVER_NAME_CHARACTERS} characters that can be printed, with no space at either "
                f"end: not {name[: SERVER_NAME_CHARACTERS + 1]!r}."
            )
        if name not in self._servers and len(self._servers) >= SERVERS:
            return f"This cluster has {SERVERS:,} servers, and takes no more: cluster.unserve(name) ends one."
        return ""

    def _unserve(self, client: Client, request: int, name: str) -> None:
        if not self._end(name):
            self._say(client, Declined(request, "server", self._unknown(name)))
            return
        self._scheduler.log("info", "server ended", server=name, client=client.name)
        if self._scheduler.keeping.on:
            self._scheduler.keeping.serves_no_more(name)
            self._answer_later(client, request)
        else:
            self._say(client, Answer(request))

    def _end(self, name: str) -> bool:
        """What it was asked goes on: these jobs need what it was made of by themselves."""
        server = self._servers.pop(name, None)
        if server is not None:
            self._scheduler.supply.leave(server.parts)
        return server is not None

    def restored(self, server: Server) -> None:
        """A server was in the journal."""
        self._scheduler.supply.use(server.parts)
        self._servers[server.name] = server

    # ---- what they are asked ---------------------------------------------------------------------------------------

    def resolved(self, message: OpenJob) -> tuple[OpenJob, Context]:
        """A job for a server, with what that was set up with. Without a function: there is no such server."""
        server = self._servers.get(message.server)
        if server is None:
            return replace(message, functions=[], definitions=[], context=b"", together=0), NOWHERE
        server.asked += message.count or 0
        call = replace(
            server.call,
            job=message.job,
            label=message.label,
            named=message.named,
            count=message.count,
            server=message.server,
        )
        return call, server.context

    def refuse(self, job: Job) -> None:
        """Items are for a server that isn't there: each fails."""
        error = ErrorInfo("server", "ServerNotFound", self._unknown(job.info.server))
        for start, stop in job.spans.finish(0, job.arrived):
            for index in range(start, stop):
                self._scheduler.fates.fail_for_good(job, index, error)

    def _unknown(self, name: str) -> str:
        names = ", ".join(map(repr, sorted(self._servers)))
        there = f"Those that are: {names}." if names else "There is none."
        return f"No server {name!r} is here. {there} cluster.serve(name, function) sets one up."

    # ---- once it is in the journal ---------------------------------------------------------------------------------

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the journal."""
        return bool(self._waiting)

    def recorded(self) -> None:
        """One more record is on the disk; they are in the order in which they left."""
        self._recorded += 1
        while self._waiting and self._waiting[0].record <= self._recorded:
            waiting = self._waiting.pop(0)
            self._say(waiting.client, Answer(waiting.request))

    def troubled(self, trouble: str) -> None:
        """The journal can't be written, in words; empty: it can again."""
        self._trouble = trouble
        waiting, self._waiting = (self._waiting, []) if trouble else ([], self._waiting)
        for each in waiting:
            self._unrecorded(each.client, each.request)

    def _answer_later(self, client: Client, request: int) -> None:
        if self._trouble:
            self._unrecorded(client, request)
        else:
            # What was changed in this turn leaves at its end.
            self._waiting.append(Waiting(client, request, self._scheduler.keeping.records + 1))

    def _unrecorded(self, client: Client, request: int) -> None:
        text = f"It holds while this scheduler runs, but it could not be recorded: {self._trouble}"
        self._say(client, Declined(request, "full", text))

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _say(self, client: Client, message: Answer | Declined) -> None:
        if client.peer is not None:
            self._scheduler.send(client.peer, message)

    def _status(self, server: Server, asker: Client) -> ServerStatus:
        age = self._scheduler.now - server.created
        mine, call = server.client == asker.name, server.call
        return ServerStatus(server.name, call.label, server.client, mine, age, server.asked, call.together)


def is_refused(job: Job) -> bool:
    """Whether it is for a server that wasn't there when it came."""
    return bool(job.info.server) and not job.info.functions
