"""Finding and starting clusters on this machine.

Owns: the process of a local cluster as its starter sees it (its options, its surroundings, its first line), and the
race of two starts for one name. Must not know: links, jobs, the reactor.

All of it blocks, with a deadline, and touches neither Twisted nor threads' state: call it from any thread.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import secrets
import select
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from twistcluster.client.ending import kill
from twistcluster.errors import (
    AccessDenied,
    ClusterUnreachable,
    JournalDamaged,
    JournalFull,
    JournalInUse,
    JournalUnusable,
    OptionsDiffer,
    TwistclusterError,
    VersionMismatch,
)
from twistcluster.net import connections
from twistcluster.net.listening import parse_listen, require_tls
from twistcluster.net.places import check_name, open_log
from twistcluster.net.token import VARIABLE
from twistcluster.nodes.durability import Last, last_at, last_of
from twistcluster.storage.journal_places import JournalPlace, journal_path
from twistcluster.wire.limits import SLOTS

__all__ = ["Connection", "Running", "come_back", "find", "named", "running_clusters", "start_local"]

START_SECONDS: Final = 30.0
LOG_LINES: Final = 5
"""How many of its last lines an error shows."""
POLL_SECONDS: Final = 0.02
DYING_SECONDS: Final = 1.0
"""How long a killed process may hold its files."""
_log = logging.getLogger("twistcluster")
_FIELDS: Final = {"store": "journal"}
"""Options whose values stand under another name in a connection file."""
_UNWANTED: Final = ("JPY_", "PYDEVD_")
"""Variables of the notebook's kernel that its children must not see."""

_JOURNAL_ERRORS: Final[dict[str, type[TwistclusterError]]] = {
    kind.__name__: kind
    for kind in (AccessDenied, JournalDamaged, JournalFull, JournalInUse, JournalUnusable, VersionMismatch)
}
"""What the process that is started says of a journal that it can't use."""


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a cluster: what its connection file says, or for one on another host its address."""

    id: str
    name: str
    """Empty for an owned cluster."""
    socket: str
    pid: int
    kind: str
    """"local" (with a worker of its own) or "scheduler"; "elsewhere": on another host."""
    slots: int
    """Of its own worker, when it started."""
    idle_timeout: float | None
    """Seconds."""
    memory_limit: int | None
    """Bytes, of each slot of its own worker."""
    started: str
    """ISO 8601, UTC."""
    python: str
    version: str
    owned: bool
    log: str
    """Path of its log; empty where there is none."""
    store: str
    """Folder of this host's store of large values; empty where there is none."""
    connection_file: str
    journal: str = ""
    """Path of its journal; empty where nothing is kept."""
    listen: str = ""
    """Where for other machines, as "tls:0.0.0.0:8930"; empty: it doesn't."""
    address: str = ""
    """`host:port` of one on another host."""

    @property
    def target(self) -> str:
        """What `tc.connect` finds it by; empty for an owned one."""
        return f"tls://{self.address}" if self.address else self.name

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Connection":
        """Of a connection file's fields; what a file of another version lacks is empty."""
        known = {field.name: fields.get(field.name, _empty(field.name)) for field in dataclasses.fields(cls)}
        return cls(**known)


def _empty(name: str) -> object:
    return {"pid": 0, "slots": 0, "idle_timeout": None, "memory_limit": None, "owned": False}.get(name, "")


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """A cluster that `start_local` started, or found."""

    connection: Connection
    owner: str = ""
    """The secret that its owner says in `Hello`: an unnamed cluster lives as long as that link."""
    process: "subprocess.Popen[bytes] | None" = None
    """Of the cluster, if it was started here."""

    @property
    def started(self) -> bool:
        """Whether this call started it (otherwise it ran already)."""
        return self.process is not None


def find(target: str) -> Connection:
    """The cluster with this name or id, or of the connection file at this path.

    Raises:
        ClusterUnreachable: there is none; it says how to start one.
        AccessDenied: the connection file is somebody else's.
    """
    try:
        return Connection.from_fields(connections.find(target))
    except ClusterUnreachable:
        back = _come_back(target)
        if back is None:
            raise
        return back


def _come_back(name: str) -> Connection | None:
    """A local cluster that didn't end, but died, is started again as it was."""
    try:
        last = last_of(check_name(name))
    except (ValueError, TwistclusterError):
        return None
    if last is None or last.ended or last.kind != "local":
        return None
    return _start_again(name, last)


def come_back(gone: Connection) -> Connection | None:
    """A named cluster whose link was lost, once it is there again; a local one that died is started as it was.

    Returns None if it ended.

    Raises:
        ClusterUnreachable: it isn't there yet.
        TwistclusterError: it can't be started again.
    """
    found = _named(gone.name)
    if found is not None:
        return found
    last = last_at(gone.journal)
    if last is None or last.ended:
        return None
    if last.kind != "local":
        raise ClusterUnreachable(f"the scheduler of {gone.name!r} isn't running")
    return _start_again(gone.name, last, os.path.dirname(gone.journal))  # noqa: PTH120 (its path is text here)


def named(gone: Connection) -> Connection:
    """A named cluster whose link was lost, once somebody else has started it again.

    Raises:
        ClusterUnreachable: it isn't there yet.
    """
    found = _named(gone.name)
    if found is None:
        raise ClusterUnreachable(f"the cluster {gone.name!r} isn't running")
    return found


def follower(gone: Connection) -> Connection | None:
    """What takes the place of a named cluster that doesn't answer: a local one that just died is started as it was.

    A killed process holds its connection file, by which it was found, for some more milliseconds. None: it holds it
    longer than that, so it lives; or there is nothing to start.
    """
    if not (gone.name and gone.journal):
        return None
    deadline = time.monotonic() + DYING_SECONDS
    while _holds(gone):
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ClusterUnreachable):
        return come_back(gone)
    return None


def _holds(gone: Connection) -> bool:
    found = _named(gone.name)
    return found is not None and found.id == gone.id and found.pid == gone.pid


def _start_again(name: str, last: Last, store: str = "") -> Connection:
    """As it was; `store` is the folder of its journal, empty: the usual place."""
    started = start_local(
        name, last.slots, last.idle_timeout, memory_limit=last.memory_limit, store=store, listen=last.listen
    )
    return started.connection


def running_clusters() -> list[Connection]:
    """Those that this user runs on this host, the oldest first."""
    return [Connection.from_fields(fields) for fields in connections.living()]


def start_local(
    name: str = "",
    slots: int | None = None,
    idle_timeout: float | None = None,
    timeout: float = START_SECONDS,
    *,
    memory_limit: int | None = None,
    store: str | None = "",
    listen: str = "",
) -> Running:
    """Start a local cluster, or find the one that has the name already.

    Args:
        name: empty: it is owned by whoever says `Running.owner`, and ends with that link.
        slots: of its worker; one a core if not given.
        idle_timeout: seconds without client and open job after which a named one ends; 10 minutes if not given.
        timeout: seconds until it must take connections.
        memory_limit: bytes that each slot may use; any if not given.
        store: folder of a named one's journal; empty: the usual place; None: nothing is kept.
        listen: where a named one takes members from other machines, as "tls:0.0.0.0:8930"; empty: nowhere.

    Raises:
        ClusterUnreachable: it did not start; the last lines of its log are in the message.
        JournalInUse, JournalDamaged, JournalUnusable, JournalFull, AccessDenied, VersionMismatch: its journal can't be used; what is
            there stays as it is.
        OptionsDiffer: one of this name runs with other options.
        ValueError: no cluster can have this name, or so many slots, or listen there.
    """
    deadline = time.monotonic() + timeout
    if slots is not None and not 0 <= slots <= SLOTS:
        raise ValueError(f"a worker has 0 to {SLOTS:,} slots, not {slots:,}: twistcluster-worker joins more workers")
    if not name:
        return _launch("", slots, None, memory_limit, deadline, "")
    check_name(name)
    if listen:
        parse_listen(listen)
        require_tls()
    place = None if store is None else journal_path(name, store or None)
    while True:
        found = _named(name)
        if found is not None:
            asked = {"slots": slots, "idle_timeout": idle_timeout, "memory_limit": memory_limit}
            _compare(found, asked, None if not store else place, listen)
            return Running(found)
        try:
            if place is not None and place.note:
                _log.warning("%s", place.note)
            journal = "" if place is None else place.path
            return _launch(name, slots, idle_timeout, memory_limit, deadline, journal, listen)
        except _NameTaken as error:
            # Another start won the name: wait until its cluster can be found, or has given the name back.
            if time.monotonic() > deadline:
                raise ClusterUnreachable(
                    f"a cluster named {name!r} is starting or ending, but can't be reached: try again, or take "
                    "another name"
                ) from error
            time.sleep(POLL_SECONDS)


class _NameTaken(Exception):  # noqa: N818 (an outcome, not an error)
    """The process that was started found its name taken."""


def _named(name: str) -> Connection | None:
    return next((each for each in running_clusters() if each.name == name), None)


def _compare(found: Connection, asked: Mapping[str, object], place: JournalPlace | None, listen: str) -> None:
    listens = bool(found.listen) and bool(listen) and parse_listen(listen).allows(parse_listen(found.listen))
    asked = {
        **asked,
        "store": None if place is None else place.path,
        "listen": None if listens or not listen else listen,
    }
    has = {option: getattr(found, _FIELDS.get(option, option)) for option in asked}
    differ = [option for option, value in asked.items() if value is not None and value != has[option]]
    if differ:
        what = " and ".join(
            f"{option}={'nothing' if has[option] == '' else has[option]} (you asked for {asked[option]})"
            for option in differ
        )
        raise OptionsDiffer(
            f"a cluster named {found.name!r} runs already, with {what}.\n"
            f"Use it with tc.connect({found.name!r}), or stop it first: `twistcluster stop {found.name}`"
        )


def _launch(
    name: str,
    slots: int | None,
    idle_timeout: float | None,
    memory_limit: int | None,
    deadline: float,
    journal: str,
    listen: str = "",
) -> Running:
    cluster = uuid.uuid4().hex[:8]
    owner = "" if name else secrets.token_hex(16)
    log_fd, log = open_log(cluster, name)
    try:
        ready, ready_there = os.pipe()
        options = {
            "id": cluster,
            "name": name,
            "slots": slots,
            "idle_timeout": idle_timeout,
            "memory_limit": memory_limit,
            "ready_fd": ready_there,
            "journal": journal,
            "listen": listen,
            "log": log,
        }
        process = subprocess.Popen(
            # -P: what lies in the current folder must not hide the modules that a cluster is made of.
            [sys.executable, "-P", "-m", "twistcluster.nodes.local", json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=(ready_there,),
            env=_surroundings(owner),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log_fd)
    os.close(ready_there)
    # Reaped as soon as it ends, whoever still holds this object.
    threading.Thread(target=process.wait, name="twistcluster-reaper", daemon=True).start()
    try:
        with open(ready, "rb", buffering=0) as pipe:  # noqa: PTH123 (an open descriptor)
            answer = _first_line(pipe.fileno(), deadline)
        return Running(_connection(answer, log), owner, process)
    except BaseException as error:
        if not isinstance(error, _NameTaken):
            kill(process, cluster)
        raise


def _surroundings(owner: str) -> dict[str, str]:
    """This process's environment without what belongs to a kernel."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_UNWANTED) and key != "MPLBACKEND"}
    kept.pop("TWISTCLUSTER_OWNER", None)
    kept.pop(VARIABLE, None)
    if owner:
        kept["TWISTCLUSTER_OWNER"] = owner  # not an argument: all users can read those
    return kept


def _first_line(fd: int, deadline: float) -> bytes | None:
    """What the process says when it is ready; empty: it ended; None: it said nothing in time."""
    data = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return None
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        data += chunk
    return data


def _connection(answer: bytes | None, log: str) -> Connection:
    if answer is None:
        raise ClusterUnreachable(f"the cluster was not ready in time.{_last_lines(log)}")
    try:
        said = json.loads(answer)
    except ValueError:
        raise ClusterUnreachable(f"the cluster ended before it was ready.{_last_lines(log)}") from None
    if said.get("taken"):
        raise _NameTaken
    if "error" in said:
        raise _JOURNAL_ERRORS.get(said.get("kind"), ClusterUnreachable)(f"the cluster could not start: {said['error']}")
    return Connection.from_fields(said)


def _last_lines(log: str) -> str:
    lines: list[str] = []
    with contextlib.suppress(OSError):
        if log:
            lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    if not lines:
        return f" Its log says nothing: {log}" if log else " It has no log: is the disk full?"
    return f" The last lines of its log ({log}):\n" + "\n".join(f"  {line[:300]}" for line in lines)
