"""The messages of every link, one tagged union for each direction.

Owns: their names and fields. A message is the header of a frame; user values never stand in it: they travel in the
frame's buffers, opaque to all but clients and slots. Must not know: how frames are cut, who sends when.

Numbers named `job` belong to the link they are said on: a client numbers its own jobs, a scheduler numbers all of them
for its workers. A digest is the 16-byte BLAKE2b of the bytes it names.
"""

from typing import Literal, dataclass_transform

import msgspec

__all__ = [
    "PROTOCOL",
    "Absent",
    "Adopt",
    "Answer",
    "Ask",
    "At",
    "Bite",
    "BiteDone",
    "Blob",
    "Bring",
    "Brought",
    "Cancel",
    "Cancelled",
    "ClientToScheduler",
    "CloseJob",
    "ClusterStatus",
    "Context",
    "Crashed",
    "Declined",
    "Deny",
    "Drop",
    "DropPages",
    "DropValues",
    "Edge",
    "EndJob",
    "ErrorInfo",
    "Everywhere",
    "Failed",
    "Failure",
    "File",
    "Forget",
    "ForgetJob",
    "Freed",
    "Give",
    "Goodbye",
    "HandOver",
    "HandedOver",
    "Heartbeat",
    "HeldJob",
    "Hello",
    "Holds",
    "Invite",
    "Invited",
    "JobProgress",
    "JobStatus",
    "Join",
    "Joined",
    "Keep",
    "KeepJob",
    "Kept",
    "KnownJob",
    "Lease",
    "ListJobs",
    "ListServers",
    "Message",
    "Module",
    "Notice",
    "Offered",
    "OpenJob",
    "Output",
    "Page",
    "Part",
    "Printed",
    "Question",
    "Ready",
    "Refused",
    "Release",
    "Released",
    "Renamed",
    "Renew",
    "Renewed",
    "Report",
    "RestartSlots",
    "Restore",
    "Results",
    "Resume",
    "Resumed",
    "Retry",
    "Revoke",
    "Running",
    "Scale",
    "SchedulerToClient",
    "SchedulerToWorker",
    "Serve",
    "ServerStatus",
    "ShutOut",
    "SlotToWorker",
    "SlotsChanged",
    "Status",
    "Step",
    "StepDone",
    "Stop",
    "StopCluster",
    "StopItems",
    "Stopping",
    "Stored",
    "Unserve",
    "Values",
    "ValuesMessage",
    "Wanted",
    "Welcome",
    "WorkerStatus",
    "WorkerToScheduler",
    "WorkerToSlot",
]

PROTOCOL = 7
"""Raised whenever a message changes so that an older peer would misread it."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages: frozen, compact on the wire, checked by type when decoded."""


# ---- opening ---------------------------------------------------------------------------------------------------------


class Hello(Message, tag=True):
    """The first message of whoever connects."""

    protocol: int
    role: Literal["client", "worker", "values"]
    """`values`: a second connection of a member, for values alone (`ValuesMessage`)."""
    python: str
    """Minor version, as in "3.11": pickles of code don't cross it."""
    version: str
    """Of twistcluster."""
    process: str
    """UUID of the process, hex."""
    link: int
    """Counts this process's links to this cluster; the newest wins."""
    host: str
    pid: int
    name: str = ""
    slots: int = 0
    resources: dict[str, float] = {}
    packages: dict[str, str] = {}
    owner: str = ""
    """The secret of an owned cluster, from the process that started it: the cluster lives as long as this link."""
    port: int = 0
    """Of a worker on another host: where it hands out the values that lie there; 0: nowhere."""


class Join(Message, tag=True):
    """The only word, instead of `Hello`, of whoever has a token and no certificate. Answered by `Joined` or `Refused`."""

    protocol: int
    secret: str
    """Of the token."""
    key: bytes
    """The public key that shall be certified, as SubjectPublicKeyInfo (RFC 5280) in DER."""
    host: str = ""
    pid: int = 0


class Joined(Message, tag=True):
    """The answer to `Join`: who the peer is from now on. The link closes."""

    certificate: bytes
    """DER."""
    authority: bytes
    """The certificate of the cluster's authority, DER."""


class Renew(Message, tag=True):
    """A member asks for a new certificate, since a good part of its own's life is over. Answered by `Renewed`."""

    key: bytes
    """The public key that shall be certified, as in `Join`."""


class Renewed(Message, tag=True):
    """The answer to `Renew`."""

    certificate: bytes
    """DER."""


class Welcome(Message, tag=True):
    """The answer to `Hello`: from here on large frames are taken."""

    epoch: str
    cluster: str
    name: str
    python: str
    version: str
    packages: dict[str, str] = {}
    journal: bool = False
    """What it accepts outlives it: a client whose link is lost holds what wasn't `Kept`, and comes back."""
    store: bool = False
    """To a peer on another host: the cluster's has a store, so large results may stay where they were made, and values be put."""


class Refused(Message, tag=True):
    """The other answer to `Hello`, or the last word before a link is closed."""

    code: Literal["protocol", "python", "access", "limit", "malformed"]
    message: str


class Goodbye(Message, tag=True):
    """An orderly end: the peer means to close, it has not died."""


class Heartbeat(Message, tag=True):
    """From a worker, or a client on another host, that has said or heard nothing for a second; a scheduler answers with
    the same. To members on other hosts it also says it while a long message is on its way from them.
    """


# ---- values in a store -------------------------------------------------------------------------------------------------


class Stored(Message):
    """A value in a host's store: its row in a page, or in a report, only names it (wire/pages.py)."""

    item: int
    """Counted from the first of the page or report."""
    id: bytes
    """16 bytes, never given twice."""
    nbytes: int


class Edge(Message):
    """An item waits for another's result, which takes the place of the placeholder with the number `input`."""

    item: int
    """Counted from the first of the page."""
    input: int
    job: int
    index: int
    """Of the item that it waits for; -1: all results of that job, as a list."""


class Keep(Message, tag=True):
    """The client made these values and can name them in later jobs, until it drops them.

    Buffers: none; from another host, the pickle and the pickle's buffers of the one value that it names.
    """

    objects: list[Stored]


class Drop(Message, tag=True):
    """The client can't name these values any more, that it made or was told of; once for each time that it was told."""

    ids: list[bytes]


class Freed(Message, tag=True):
    """Nobody can ask for these values any more: who made them may use their memory again."""

    ids: list[bytes]


class Bring(Message, tag=True):
    """A slot, or its worker, can't read this value: it may lie on another host. Answered by `Brought`."""

    id: bytes


class Brought(Message, tag=True):
    """The answer to `Bring`: whether the value is in the store now."""

    id: bytes
    there: bool
    full: str = ""
    """Why there is no room for it, in words; empty: it is nowhere to be had."""


class Holds(Message, tag=True):
    """A worker on another host has joined, and has these values still. Those that nobody needs are `Freed`."""

    ids: list[bytes]
    more: bool = False
    """More of them are said next."""


class HandOver(Message, tag=True):
    """A worker on another host is about to leave: what lies with it shall be brought away. Answered by `HandedOver`."""


class HandedOver(Message, tag=True):
    """The answer to `HandOver`: nothing of what the worker has is needed any more, but what could not be brought."""


class Renamed(Message, tag=True):
    """To a worker on another host: the value `id` was lost and made again, as `made`. Where that lies it takes the old one's
    name; elsewhere what there is of the old one goes.
    """

    made: bytes
    id: bytes


class ShutOut(Message, tag=True):
    """To a worker on another host: the serials (hex) of all certificates that are denied. It hands them out nothing."""

    serials: list[str]


class Give(Message, tag=True):
    """Send this value, from a byte on. Answered by `Part`s, `At` or `Absent`."""

    id: bytes
    offset: int = 0
    """Of the bytes of its parts, one after the other."""
    version: bytes = b""
    """Of the bytes that came before: of another version all is sent."""
    through: bool = False
    """Who has it can't be reached: the scheduler shall fetch it first."""


class Part(Message, tag=True):
    """Bytes of a value that was asked for, from `offset` on. Buffers: these bytes."""

    id: bytes
    offset: int
    sizes: list[int]
    """Bytes of its pickle, and of each of the pickle's buffers."""
    version: bytes = b""
    """The same for all slices of the same bytes: a value may be made again under its id, or come from somebody else."""


class At(Message, tag=True):
    """The value lies with the worker at this address: ask there."""

    id: bytes
    where: str
    """"host:port"."""


class Absent(Message, tag=True):
    """The value isn't here, nor is it known to be anywhere."""

    id: bytes
    full: str = ""
    """It is elsewhere, but has no room here, where it would pass: why, in words."""


class Values(Message, tag=True):
    """Results of items `first` to `first + count` of a job that others wait for. Buffers: a packed page of them.

    From a client without any: it holds these results no more. Then `cancelled` says that it cancelled these items, so that
    what waits for them is cancelled too.
    """

    job: int
    first: int
    count: int
    kind: int
    definitions: list[bytes] = []
    objects: list[Stored] = []
    cancelled: bool = False


class DropValues(Message, tag=True):
    """The values that begin with these items won't be needed again."""

    job: int
    firsts: list[int]


class Wanted(Message, tag=True):
    """Items of the client's wait for these results of `job`, which it was told before: it sends them as `Values`."""

    job: int
    ranges: list[tuple[int, int]]


# ---- what travels down: client to scheduler to worker to slot ---------------------------------------------------------


class Blob(Message, tag=True):
    """One buffer: a pickled function, a class definition, a module's source, an uploaded file."""

    digest: bytes


class Forget(Message, tag=True):
    """The sender will send these again before it names them again."""

    digests: list[bytes]


class Module(Message):
    """A module beside the notebook."""

    name: str
    path: str
    """Relative to the folder it is imported from, with slashes: "helpers.py", "lab/__init__.py"."""
    digest: bytes


class File(Message):
    """An uploaded file, by its name in the slot's working folder."""

    name: str
    digest: bytes


class Context(Message, tag=True):
    """What an item may see beside its arguments.

    `base` is the digest of folder, modules and files: a slot is of one base for life. `steps` are the digests of the
    `everywhere` functions, in order: a slot that has run a prefix of them runs the rest.
    """

    digest: bytes
    base: bytes
    folder: str
    modules: list[Module] = []
    files: list[File] = []
    steps: list[bytes] = []


class OpenJob(Message, tag=True):
    """A job and what holds for all its items. Its pages follow."""

    job: int
    functions: list[bytes]
    """Digests. The items of a map call the first; each item of a batch of submits names its own by number."""
    context: bytes
    label: str = ""
    """What people call it: the name given, else the function's with a number ("make_thumb-3")."""
    named: bool = False
    count: int | None = None
    """The number of items where it is known at once; without it, `CloseJob` says it."""
    priority: int = 0
    resources: dict[str, float] = {}
    source: int = 0
    """Another job of this client: item i's only argument is the result of its item i. No pages follow."""
    retries: int = 0
    """How often an item runs again after an exception or a time-out."""
    time_limit: float = 0.0
    """Seconds that an item may run; 0: any."""
    max_crashes: int = 3
    """An item fails when its slot died on it so often."""
    together: int = 0
    """So many items of its functions go together in one call, at most; 0: each is a call of its own."""
    server: str = ""
    """Its items are for the server of this name, each a call with one argument: the scheduler puts in the function, the
    context, and what else that was set up with."""
    definitions: list[bytes] = []
    """Of a server: digests of the class definitions that its results may name."""


class Page(Message, tag=True):
    """Items `first` to `first + count` of a job. Buffers: a packed page (wire/pages.py)."""

    job: int
    first: int
    count: int
    kind: int
    definitions: list[bytes] = []
    """Digests of the class definitions that its values name; their blobs go ahead of it."""
    objects: list[Stored] = []
    """Values in a store that its rows name."""
    edges: list[Edge] = []
    """What its items wait for."""


class CloseJob(Message, tag=True):
    """A lazy job's input ended. Also told to a client that adopted the job."""

    job: int
    count: int
    error: str = ""
    """Why it ended early, if the source of items raised."""


# ---- client to scheduler ---------------------------------------------------------------------------------------------


class Cancel(Message, tag=True):
    """Items `start` to `stop` shall not start, and stop if they run; `stop` None: nor any that are still to come."""

    job: int
    start: int = 0
    stop: int | None = None


class Retry(Message, tag=True):
    """The failed items again."""

    job: int


class Release(Message, tag=True):
    """This client won't ask about the job any more."""

    job: int


class Adopt(Message, tag=True):
    """From here on the client calls the job known by `id` by its own number `job`, and gets what is held of it."""

    request: int
    job: int
    id: str


class Status(Message, tag=True):
    """Answered by a `ClusterStatus`."""


class ListJobs(Message, tag=True):
    """Answered by a list of `JobStatus`, the newest first; `name` picks by label or id."""

    name: str = ""


class Serve(Message, tag=True):
    """From here on this function answers what is asked of the server `name`; it takes the place of one of that name.

    Answered when it is in the journal, where there is one.
    """

    name: str
    call: OpenJob
    """What each of its jobs is made like. Its label is what people call the function."""


class Unserve(Message, tag=True):
    """The server of this name ends; what it was asked before is still answered."""

    name: str


class ListServers(Message, tag=True):
    """Answered by a list of `ServerStatus`, by name."""


class Scale(Message, tag=True):
    """Set the number of slots (of the local worker, or of the worker that gets it)."""

    slots: int


class RestartSlots(Message, tag=True):
    """New processes for all slots. Jobs go on: what ran is run again, and this isn't counted as a crash."""


class Everywhere(Message, tag=True):
    """Run a step in every slot now. `context` already ends with `function` unless `once`.

    Answered by one `StepDone` a slot, when all have run it.
    """

    context: bytes
    function: bytes
    once: bool = False


class Restore(Message, tag=True):
    """A value that the client was told of is in no store: make it again. Answered when it is there."""

    id: bytes


class ForgetJob(Message, tag=True):
    """Let go of the job known by `id`, which must be over, and of all that was told of it, in the journal too."""

    id: str


class KeepJob(Message, tag=True):
    """From here on the large results of the job known by `id` shall be on the disk, too.

    Answered when those are written that are there now.
    """

    id: str


class StopCluster(Message, tag=True):
    """End it for everyone; declined while others use it or jobs are open, unless `force`."""

    force: bool = False


class HeldJob(Message):
    """What a client that comes back knows of a job."""

    job: int
    """Its number on the link."""
    id: str
    """In the cluster."""
    known: list[tuple[int, int]] = []
    """Items of which it was told what became of them."""
    printed: list[tuple[int, int]] = []
    """Items of which it was told what they printed."""
    closed: bool = False
    """It was told how many items there are."""
    failed: list[tuple[int, int]] = []
    """Items of which it was told that they failed, and that were to run again."""


class Resume(Message, tag=True):
    """The first word of a client that comes back after its link was lost: the jobs that it holds. `Resumed` follows."""

    jobs: list[HeldJob]
    put: list[bytes] = []
    """Values that it sent, from another host, and can send again."""


class Offered(Message, tag=True):
    """A client that came back has said all that wasn't known here any more: its jobs go on."""

    objects: list[Stored] = []
    """Values in stores that it can ask for, each as often as it was told of it."""


class Invite(Message, tag=True):
    """Whoever brings the secret of this digest may join, from another machine. Answered with `Invited`."""

    digest: bytes
    """Of the token's secret (core/tokens.py), which only the client that asks knows."""
    role: Literal["client", "worker"]
    uses: int
    """How many may join with it."""
    expires_s: float
    """Seconds from now."""


class Deny(Message, tag=True):
    """Shut out the certificate with this serial, and those that it was renewed with; or whoever brings this token."""

    what: str
    """A serial in hex, or the id of a token (core/tokens.py), as in "worker-d88dbb"."""


Question = (
    Status
    | ListJobs
    | Serve
    | Unserve
    | ListServers
    | Scale
    | RestartSlots
    | Everywhere
    | Restore
    | ForgetJob
    | KeepJob
    | Invite
    | Deny
    | StopCluster
)


class Ask(Message, tag=True):
    """Answered by `Answer` or `Declined` with the same number."""

    request: int
    question: Question


# ---- what travels up: slot to worker to scheduler to client ------------------------------------------------------------


class Report(Message, tag=True):
    """Items `start` to `start + count` of a lease (from a slot: of a bite) succeeded. Buffers: their packed results."""

    lease: int
    start: int
    count: int
    kind: int
    seconds: float
    """Run time inside the items, all together."""
    definitions: list[bytes] = []
    objects: list[Stored] = []
    """Results that are in a store."""


class ErrorInfo(Message):
    """What is known of an error without unpickling anything."""

    why: Literal[
        "raised", "argument", "result", "crashed", "lost", "context", "input", "gone", "timeout", "stopped", "server"
    ]
    """`argument`: could not be unpickled; `result`: could not be pickled; `context`: its slot could not be prepared;
    `input`: what it waits for failed; `gone`: a value that it needs is in no store any more and can't be made again;
    `timeout`: it ran longer than its `time_limit`; `stopped`: a slot's word for an item that its worker interrupted;
    `server`: there is none of the name that it is for."""
    type: str
    message: str
    traceback: str = ""


class Failure(Message, tag=True):
    """An item failed. Buffers: none, or the pickled exception and its own buffers."""

    lease: int
    index: int
    seconds: float
    error: ErrorInfo
    definitions: list[bytes] = []
    missing: bytes = b""
    """The id of a value that it needs and that is in no store: then the item wasn't run."""


class Printed(Message, tag=True):
    """What an item wrote to its standard output and error, cut to the limit of an item."""

    lease: int
    index: int
    text: str
    dropped_bytes: int = 0


# ---- scheduler to client ---------------------------------------------------------------------------------------------


class Results(Message, tag=True):
    """Items `first` to `first + count` succeeded. Buffers: their packed results."""

    job: int
    first: int
    count: int
    kind: int
    definitions: list[bytes] = []
    objects: list[Stored] = []
    """Results that are in a store."""


class Failed(Message, tag=True):
    """An item failed for good. Buffers: none, or the pickled exception and its own buffers."""

    job: int
    index: int
    error: ErrorInfo
    definitions: list[bytes] = []


class Kept(Message, tag=True):
    """The job, its first `items` items and all that was told of it are in the cluster's journal."""

    job: int
    items: int
    over: bool
    """With what became of all of them."""


class KnownJob(Message):
    """What the scheduler knows of a job of a client that came back."""

    job: int
    items: int
    """How many of its items are here."""
    untold: list[tuple[int, int]] = []
    """Of the items that the client named, those of which nothing is known here: it may say what became of them."""


class Resumed(Message, tag=True):
    """The answer to `Resume`: those of its jobs that are known here. The client sends what is missing, then `Offered`."""

    highest: int
    """The highest number of a job that is known of it."""
    jobs: list[KnownJob]
    missing: list[bytes] = []
    """Of the values that it can send again, those that aren't in this host's store."""


class Cancelled(Message, tag=True):
    """These ranges were cancelled: they did not start, or were stopped while they ran."""

    job: int
    ranges: list[tuple[int, int]]


class Output(Message, tag=True):
    """What an item printed."""

    job: int
    index: int
    text: str
    dropped_bytes: int = 0


class JobProgress(Message, tag=True):
    """At most five times a second while something of it changes."""

    job: int
    running: int
    """Items that are in a slot now, as far as is known."""
    waiting: str = ""
    """Why nothing of it runs, or little, in words, where that needs saying (no slot offers its resources, results not
    fetched, memory is short…)."""


class WorkerStatus(Message):
    """A worker, for people to read."""

    name: str
    host: str
    pid: int
    slots: int
    ready: int
    """Slots whose process is up."""
    busy: int
    resources: dict[str, float]
    local: bool
    """In the scheduler's own process."""
    crashes: int
    since: float
    """Seconds since it joined."""
    packages: dict[str, str] = {}
    python: str = ""
    short: str = ""
    """That its host is short of memory, in words: then it gets one item at a time."""
    suspect: str = ""
    """That it doesn't answer, in words: then it gets nothing new, and may be lost."""
    stopped: list[int] = []
    """Pids of its slots that somebody stopped (SIGSTOP): they aren't counted in `slots`."""
    leaving: bool = False
    """It ends as soon as what it runs is done."""
    serial: str = ""
    """Of its certificate, in hex: what `Deny` takes. Empty: it is on the scheduler's host and needs none."""


class JobStatus(Message):
    """A job, for people to read, and what a client needs to find it again."""

    id: str
    label: str
    client: str
    """Name of the client that sent it."""
    yours: bool
    state: Literal["pending", "running", "done", "failed", "cancelled"]
    count: int | None
    done: int
    failed: int
    cancelled: int
    running: int
    age: float
    waiting: str = ""


class ServerStatus(Message):
    """A server, for people to read."""

    name: str
    function: str
    """What people call it."""
    client: str
    """Name of the client that set it up."""
    yours: bool
    age: float
    """Seconds since then."""
    asked: int
    """How many answers it was asked for since then, or since the scheduler started."""
    together: int
    """How many of these go together in one call, at most."""


class ClusterStatus(Message, tag=True):
    """The cluster, for people to read."""

    id: str
    name: str
    epoch: str
    pid: int
    uptime: float
    owned: bool
    clients: list[str]
    workers: list[WorkerStatus]
    jobs_open: int
    items_pending: int
    held_bytes: int
    busy_share: float
    """Share of its time that the scheduler works, 0 to 1."""
    packages: dict[str, str] = {}
    python: str = ""
    version: str = ""
    client_serials: list[str] = []
    """Of each of `clients`: the serial of its certificate, in hex; empty for one on the scheduler's host."""


class Invited(Message):
    """The answer to `Invite`: what the one who is invited needs beside the secret."""

    fingerprint: bytes
    """SHA-256 of the certificate (DER) of the cluster's authority."""
    addresses: list[str]
    """"host:8930": where this cluster may be reached; the one that people know first."""
    expires_at: float
    """Wall-clock seconds."""


class StepDone(Message, tag=True):
    """A slot ran an `everywhere` step. Buffers: the pickled result or exception, where there is one."""

    request: int
    slot: str
    """"worker/3": for people. Empty: this worker has no slot that could run it now."""
    error: ErrorInfo | None = None
    remaining: int = 0
    """How many slots of the same worker are still to answer: with 0 the worker is through."""


class Answer(Message, tag=True):
    """The answer to `Ask` (which question it was says what stands in it) and to `Adopt`."""

    request: int
    status: ClusterStatus | None = None
    jobs: list[JobStatus] | None = None
    text: str = ""
    invited: Invited | None = None
    closed: int = 0
    """Links that `Deny` closed."""
    servers: list[ServerStatus] | None = None


class Declined(Message, tag=True):
    """No, and why, in words for the person who asked."""

    request: int
    code: Literal["busy", "unknown", "gone", "lost", "limit", "full", "room", "invalid", "server"]
    """`full`: the journal can't be written; `room`: a value has no room in the store; `server`: there is none of that
    name."""
    message: str


class Notice(Message, tag=True):
    """A line for the person: a worker joined or was lost, packages differ, leasing waits for results to be fetched."""

    level: Literal["info", "warning"]
    text: str


class Stopping(Message, tag=True):
    """The cluster ends; the link closes next."""

    reason: str


# ---- scheduler and worker --------------------------------------------------------------------------------------------


class DropPages(Message, tag=True):
    """The pages that begin with these items won't be needed again."""

    job: int
    firsts: list[int]


class EndJob(Message, tag=True):
    """Nothing of this job will be named again."""

    job: int


class Lease(Message, tag=True):
    """Items `start` to `stop` are the receiver's until it reports them, gives them back, or is lost."""

    lease: int
    job: int
    start: int
    stop: int


class Revoke(Message, tag=True):
    """Give back the unstarted tail of a lease but for `keep` items. Answered by `Released`."""

    lease: int
    keep: int = 0


class StopItems(Message, tag=True):
    """Items `start` to `stop` of a lease are cancelled: what runs of them is stopped, the rest doesn't start.

    Each is answered: by `Released`, or by the `Report` of one that succeeded before it could be stopped.
    """

    lease: int
    start: int
    stop: int


class Released(Message, tag=True):
    """Items `start` to `stop` of the lease were not started, or were stopped, and are the sender's no more (none, if equal)."""

    lease: int
    start: int
    stop: int


class Crashed(Message, tag=True):
    """A slot died while it ran this item."""

    lease: int
    index: int
    reason: str
    """"signal 9 (SIGKILL)", "exit code 3": for people."""
    peak_bytes: int = 0
    """The most memory that the slot's process ever had; 0: not known."""
    printed: str = ""
    """The last lines that the item printed, and where its code was if the slot could still say that."""
    over_limit: bool = False
    """The worker killed it: it used more than the memory limit of a slot."""
    first: bool = False
    """No other item had ended in that slot."""


class Running(Message, tag=True):
    """Items that run for longer than a sampling period: (lease, item, seconds so far). The whole list each time."""

    items: list[tuple[int, int, float]]


class SlotsChanged(Message, tag=True):
    """A worker's slots: all that can be used, those whose process is up, those that run something, deaths so far."""

    slots: int
    ready: int
    busy: int
    crashes: int
    short: str = ""
    """That its host is short of memory, in words."""
    stopped: list[int] = []
    """Pids of slots that are stopped (SIGSTOP) and so can't be used."""
    leaving: bool = False
    """It ends once what it runs is done; what it hasn't started it gives back."""
    held: int = 0
    """How many slots that aren't counted in `slots`, being stopped or about to end, still have items."""


class Step(Message, tag=True):
    """`Everywhere`, on its way to the slots."""

    request: int
    context: bytes
    function: bytes
    once: bool = False


class Stop(Message, tag=True):
    """End: finish nothing, give nothing back, close."""


# ---- worker and slot -------------------------------------------------------------------------------------------------


class Bite(Message, tag=True):
    """A lease to a slot, numbered `bite`; its items get the slot's ordinals from `ordinal` on (the shared page)."""

    bite: int
    job: int
    start: int
    stop: int
    ordinal: int
    alone: bool = False
    """Its items don't go together with others: a slot died while they did."""


class BiteDone(Message, tag=True):
    """The slot is through with a bite; it started nothing from `reached` on."""

    bite: int
    reached: int


class Ready(Message, tag=True):
    """A slot's process is up. `packages` names the versions that peers compare."""

    pid: int
    packages: dict[str, str] = {}
    maker: bytes = b""
    """What the ids of the values that it stores begin with; empty: it has no store."""


ClientToScheduler = (
    Blob
    | Forget
    | Context
    | OpenJob
    | Page
    | Values
    | CloseJob
    | Cancel
    | Retry
    | Release
    | Adopt
    | Keep
    | Drop
    | Ask
    | Resume
    | Results
    | Failed
    | Offered
    | Heartbeat
    | Renew
    | Goodbye
)
SchedulerToClient = (
    Welcome
    | Refused
    | Blob
    | Results
    | Failed
    | Cancelled
    | Output
    | CloseJob
    | Kept
    | JobProgress
    | Wanted
    | Freed
    | Answer
    | Declined
    | StepDone
    | Resumed
    | Notice
    | Heartbeat
    | Renewed
    | Stopping
)
SchedulerToWorker = (
    Welcome
    | Refused
    | Blob
    | Forget
    | Context
    | OpenJob
    | Page
    | DropPages
    | Values
    | DropValues
    | EndJob
    | Freed
    | Brought
    | HandedOver
    | Renamed
    | ShutOut
    | Lease
    | Revoke
    | StopItems
    | Scale
    | RestartSlots
    | Step
    | Heartbeat
    | Renewed
    | Stop
)
WorkerToScheduler = (
    Report
    | Failure
    | Printed
    | Released
    | Crashed
    | Running
    | SlotsChanged
    | StepDone
    | Bring
    | Holds
    | HandOver
    | Heartbeat
    | Renew
    | Goodbye
)
WorkerToSlot = (
    Blob | Forget | Context | OpenJob | Page | DropPages | Values | DropValues | EndJob | Freed | Brought | Bite | Step
)
SlotToWorker = Ready | Report | Failure | Printed | Bring | BiteDone | StepDone
ValuesMessage = Welcome | Refused | Give | Part | At | Absent
"""On a connection for values: either end asks, and answers."""
