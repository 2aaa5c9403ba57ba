"""The public Cluster and Job.

Owns: what a program types. Must not know: links, messages' ways, notebooks.
"""

import asyncio
import functools
import os
import subprocess
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar

from twistcluster.client import views
from twistcluster.client.calls import reject_options
from twistcluster.client.elsewhere import is_elsewhere, reach
from twistcluster.client.ending import ended_if_in_vain
from twistcluster.client.everywhere import run_everywhere
from twistcluster.client.futures import Future
from twistcluster.client.invitations import Invitation, invite, what_to_deny
from twistcluster.client.joblib_backend import joblib_backend
from twistcluster.client.jobs import Job
from twistcluster.client.launch import Connection, find, running_clusters, start_local
from twistcluster.client.links import Tie, tie, unreachable
from twistcluster.client.options import JobOptions
from twistcluster.client.patience import deadline_of, pause
from twistcluster.client.quantities import check_text, count, memory_limit_bytes, seconds, size_bytes
from twistcluster.client.references import Reference
from twistcluster.client.requests import answer_to
from twistcluster.client.servers import Serving, serve
from twistcluster.client.session import python_version
from twistcluster.client.tables import ClusterReport, Clusters, Jobs, Versions, Workers
from twistcluster.errors import ClusterUnreachable, InsideItem, NotPicklable
from twistcluster.images.fetching import MAX_BYTES, TIMEOUT_S
from twistcluster.images.opening import MAX_PIXELS
from twistcluster.images.pipeline import Pipeline
from twistcluster.images.plan import Plan
from twistcluster.images.run import there
from twistcluster.images.sources import Options as SourceOptions
from twistcluster.images.sources import Sources
from twistcluster.nodes.packages import packages
from twistcluster.wire.limits import SLOTS
from twistcluster.wire.messages import (
    Answer,
    ClusterStatus,
    Deny,
    ListJobs,
    Question,
    RestartSlots,
    Scale,
    Status,
    StopCluster,
)

__all__ = ["Cluster", "ClusterOptions", "Job", "clusters", "connect"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

END_SECONDS = 10.0
"""How long a cluster that was told to end may take."""
POLL_SECONDS = 0.02


class Cluster(Serving, Executor):
    """A cluster of slots, each a process that runs one item at a time.

    Without a name it is this process's own, and ends with it. With a name it is kept: it outlives its clients until it
    was idle for `idle_timeout`, and the same call again attaches to it.

    Args:
        name: What `tc.connect(name)` finds it by.
        slots: How many; by default one for each core that this process may use.
        idle_timeout: Of a named one: seconds, or "10m"; ten minutes by default.
        memory_limit: Of each slot: bytes, or "2GiB"; an item that uses more fails with `WorkerCrashed`. None by default.
        store: Folder in which a named one keeps its journal: what it accepted it finishes and can still hand out,
            whatever dies. The usual place if not given; None: nothing is kept.
        listen: Where a named one takes members from other machines: "tls:0.0.0.0:8930"; see `invite`. Nowhere if not
            given. It needs `pip install "twistcluster[tls]"`.

    Example:
        >>> with tc.Cluster(slots=2) as cluster:             # doctest: +SKIP
        ...     cluster.map(abs, [-1, -2, -3]).results()
        [1, 2, 3]
    """

    def __init__(
        self,
        name: str | None = None,
        slots: int | None = None,
        idle_timeout: float | str | None = None,
        *,
        memory_limit: float | str | None = None,
        store: str | os.PathLike[str] | None = "",
        listen: str = "",
    ) -> None:
        _refuse_inside_item("a cluster")
        if store is not None:
            store = check_text(os.fspath(store) if isinstance(store, os.PathLike) else store, "store")
        if slots is not None:
            count(slots, "slots")
        if idle_timeout is not None and not name:
            raise ValueError("an unnamed cluster ends with its process; for idle_timeout give it a name, too")
        timeout = None if idle_timeout is None else seconds(idle_timeout, "idle_timeout")
        if store and not name:
            raise ValueError("an unnamed cluster keeps nothing; for store give it a name, too")
        limit_bytes = None if memory_limit is None else memory_limit_bytes(memory_limit)
        if check_text(listen or "", "listen") and not name:
            raise ValueError("an unnamed cluster takes nobody from other machines; for listen give it a name, too")
        running = start_local(name or "", slots, timeout, memory_limit=limit_bytes, store=store, listen=listen or "")
        with ended_if_in_vain(running):
            self._begin(running.connection, running.owner, running.process)

    def _begin(self, connection: Connection, owner: str, process: "subprocess.Popen[bytes] | None") -> None:
        self._owned = bool(owner)
        self._process = process
        self._tie: Tie | None = tie(connection, owner)
        self._connection = self._tie.session.connection
        self._finalizer = weakref.finalize(self, self._tie.let_go, "its Cluster object is gone", when_idle=True)
        self._finalizer.atexit = False  # the process's end is the link's

    @property
    def name(self) -> str:
        """Its name; empty for an unnamed one."""
        return self._connection.name

    @property
    def id(self) -> str:
        """What always finds it."""
        return self._connection.id

    def __repr__(self) -> str:
        state = "closed" if self._tie is None else self._tie.session.state
        return f"<Cluster {self.name or self.id}{'' if self.name else ' (owned)'}: {state}>"

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> NoReturn:
        raise NotPicklable(
            "the cluster can't be used inside an item: have the function return what it found, and submit more from here"
        )

    @property
    def _max_workers(self) -> int:
        return sum(worker.slots for worker in self.workers())

    # ---- work ------------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn(*args, **kwargs)` in a slot; returns its future at once.

        Raises:
            NotPicklable: the function or an argument can't travel.
            TypeError: a keyword is an option's name, which goes to `cluster.options(…)`.
        """
        if kwargs:
            reject_options(fn, kwargs, "submit")
        if self._tie is None:
            raise unreachable(repr(self))
        return self._tie.opener.submit(fn, args, kwargs)

    def map(  # type: ignore[override]  # a Job is an iterator, and more
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | str | None = None,
        chunksize: int = 1,
        **misplaced: Any,
    ) -> Job[T]:
        """Run `fn` for each item, or for the items of several iterables side by side.

        What has a length is sent at once; an iterator, a generator or a `range` is pulled as the work goes on.

        Args:
            fn: Called with one item (of each iterable).
            iterables: The items.
            timeout: Seconds from now after which waiting for a result raises TimeoutError.
            chunksize: Accepted and ignored: items are grouped by how long they take.
            misplaced: Nothing; an option's name here is an error that says where it goes.
        """
        if misplaced:
            reject_options(_takes_none, misplaced, "map")
            raise TypeError(f"map takes no keyword {next(iter(misplaced))!r}; give it a function that has its own")
        return self._map(JobOptions(), fn, iterables, timeout)

    def options(
        self,
        *,
        priority: int = 0,
        resources: dict[str, float] | None = None,
        name: str = "",
        retries: int = 0,
        time_limit: float | str | None = None,
        max_crashes: int = 3,
    ) -> "ClusterOptions":
        """Set what holds for the work that is sent through the answer: `cluster.options(priority=5).submit(fn, x)`.

        Args:
            priority: Higher ones go first.
            resources: What an item needs, as in `{"gpu": 1}`.
            name: Of the job: what `cluster.job(name)` finds it by.
            retries: How often an item runs again after an exception or a time-out.
            time_limit: Seconds, or "5m", that an item may run; then it is stopped, and fails with `TaskTimeout`. It is
                looked at every 20 ms.
            max_crashes: An item fails with `WorkerCrashed` when its slot died on it so often.

        Example:
            >>> cluster.options(time_limit="30s", retries=2).map(fetch, urls)       # doctest: +SKIP
        """
        return ClusterOptions(self, JobOptions.of(priority, resources, name, retries, time_limit, max_crashes))

    def everywhere(self, fn: Callable[[], T], once: bool = False) -> list[T]:
        """Run `fn()` in every slot now, and in each new slot before its first item.

        The names that it makes global are there for all functions of this client.

        Args:
            fn: Takes nothing.
            once: Only in the slots that are there now.

        Returns:
            One result a slot.
        """
        __tracebackhide__ = True
        return run_everywhere(self._link, fn, once=once)

    def joblib(self) -> Any:
        """A backend of joblib: `with joblib.parallel_config(backend=cluster.joblib()): …`, in scikit-learn, too."""
        return joblib_backend(self, lambda: self._max_workers)

    def put(self, value: T) -> Reference[T]:
        """Put a value into the cluster's store, once; returns what stands for it in arguments, at any depth.

        An array of a gigabyte that a thousand items read is written once, and mapped, not copied, by those that run on
        this machine. The value is kept as long as the reference is, or an item that names it is to run.

        Raises:
            NotPicklable: the value can't travel.
            StoreFull: there is no room for it.

        Example:
            >>> table = cluster.put(numpy.zeros(10_000_000))                        # doctest: +SKIP
            >>> [cluster.submit(lambda t, i: t[i], table, i) for i in range(1000)]  # doctest: +SKIP
        """
        return self._link.opener.put(value)

    def upload(self, path: str | os.PathLike[str]) -> list[str]:
        """Put a file, or a folder's files, into the working folder of every slot; a module there can be imported.

        Returns:
            The names that items know them by.
        """
        return self._link.contexts.upload(path)

    # ---- pictures --------------------------------------------------------------------------------------------------

    def images(
        self,
        *sources: Any,
        where: Literal["client", "workers"] = "client",
        frames: Literal["first", "all"] = "first",
        max_pixels: int = MAX_PIXELS,
        shrink: bool = True,
        timeout: float | str = TIMEOUT_S,
        max_bytes: float | str = MAX_BYTES,
    ) -> Pipeline:
        """Pictures to be worked on: steps are added to the answer, and nothing happens before results are asked for.

        Args:
            sources: Paths, patterns ("photos/**/*.jpg"), folders, zip and tar archives, http(s) addresses, bytes of
                files, open files, PIL images, arrays (height, width[, channels]), and lists or iterators of these.
            where: "client": paths are this program's; a worker that sees the same file opens it, to others its bytes
                are sent. "workers": paths are theirs; one of them lists patterns, archives, and folders with a "/" at their end.
            frames: Of animations and files of several pages "first" or "all"; then results are tuples.
            max_pixels: A picture of more pixels is an error.
            shrink: Decode JPEGs smaller where the steps allow it.
            timeout: For addresses: seconds until the answer must have begun; after four times that all of it must be there.
            max_bytes: For addresses: a longer file is an error.

        Raises:
            TypeError: Something is no source.
            ValueError: `timeout` is nothing or more than a day, or `max_bytes` is nothing.
            PictureUnreadable: A pattern matches no file, or a folder has no pictures or can't be read.

        Example:
            >>> cluster.images("photos/**/*.jpg").resize(512).save("out/", format="webp")     # doctest: +SKIP
        """
        if where not in {"client", "workers"}:
            raise ValueError(f"where is 'client' or 'workers', not {where!r}")
        options = SourceOptions(where, seconds(timeout, "timeout"), int(size_bytes(max_bytes, "max_bytes")))
        plan = Plan((), frames, max_pixels=max_pixels, shrink=shrink)
        views.prepare()
        return Pipeline(self, Sources(sources, options, functools.partial(there, lambda: self._link)), plan)

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def job(self, name: str) -> Job[Any]:
        """The newest job of this name, this client's own first; or the one of this id.

        Raises:
            JobNotFound: there is none.
        """
        return Job(self._link.opener.find(check_text(name, "name")))

    def jobs(self, name: str | None = None) -> Jobs:
        """What the cluster knows of its jobs, the newest first."""
        answer = self._ask(ListJobs(check_text(name or "", "name")))
        return Jobs(answer.jobs or [])

    # ---- the cluster -----------------------------------------------------------------------------------------------

    def scale(self, slots: int) -> None:
        """Set the number of slots of the cluster's own worker."""
        self._ask(Scale(count(slots, "slots", most=SLOTS)))

    def workers(self) -> Workers:
        """The workers, with their slots.

        Of each: `short` says that its host is short of memory (it gets one item at a time), `suspect` that it doesn't
        answer (it gets nothing new), `stopped` has the pids of slots that somebody stopped, `leaving` says that it was
        told to end.
        """
        return Workers(self._status().workers)

    def status(self) -> ClusterReport:
        """Clients, workers, slots, jobs."""
        return ClusterReport.of(self._status())

    def versions(self) -> Versions:
        """Who runs which version of what."""
        status = self._status()
        mine = {"python": python_version(), **packages()}
        scheduler = {"python": status.python, **status.packages}
        workers = {each.name: {"python": each.python or status.python, **each.packages} for each in status.workers}
        return Versions({"client": mine, "scheduler": scheduler, **workers})

    def wait_for_workers(self, n: int = 1, slots: int | None = None, timeout: float | str | None = None) -> None:
        """Wait until there are `n` workers, and `slots` slots that are ready.

        Raises:
            TimeoutError: there are not, after `timeout`.
        """
        count(n, "n")
        if slots is not None:
            count(slots, "slots")
        deadline = deadline_of(timeout)
        while True:
            workers = self.workers()
            ready = sum(worker.ready for worker in workers)
            if len(workers) >= n and ready >= (slots or 0):
                return
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(
                    f"in time there came {len(workers)} of {n} workers, with {ready} slots ready"
                    f"{f' of {slots}' if slots else ''}; twistcluster-worker joins more, cluster.scale(n) adds slots"
                )
            pause(POLL_SECONDS)

    def invite(
        self, role: Literal["worker", "client"] = "worker", uses: int = 1, expires: float | str = "10m"
    ) -> Invitation:
        """Let another machine join. The answer shows one line to paste there, which holds a secret.

        The cluster must have been started with `listen`.

        Args:
            role: As what it joins.
            uses: How many may join with the same line.
            expires: Seconds, or "1h", for which the line is good; 30 days at most.

        Raises:
            ValueError: such a line can't be.
            TwistclusterError: the cluster takes nobody from other machines; it says how one does.

        Example:
            >>> cluster.invite()                                                    # doctest: +SKIP
            TWISTCLUSTER_TOKEN=tc1_… twistcluster-worker --join box:8930
            Good once, until 14:20. …
        """
        found_by, lasts_s = self._link.session.connection.target, seconds(expires, "expires")
        return invite(self._ask, role, count(uses, "uses"), lasts_s, found_by)

    def deny(self, what: str) -> int:
        """Shut out a member on another machine, or take a token back.

        Args:
            what: The serial of the member's certificate, which `workers()` and `status()` show: it can't come again, also
                with one that took that one's place. Or the `id` of an `Invitation`; who joined with it before stays.

        Returns:
            How many connections were closed.

        Raises:
            ValueError: it is neither.
            TwistclusterError: the cluster takes nobody from other machines, or holds no such token.
        """
        return self._ask(Deny(what_to_deny(check_text(what, "what")))).closed

    def restart(self) -> None:
        """Replace all slots by new processes. Jobs go on: what ran is run again."""
        self._ask(RestartSlots())

    # ---- the end ---------------------------------------------------------------------------------------------------

    def close(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the cluster.

        An owned one finishes its work, for which this waits, and ends. A named one goes on without this client.

        Args:
            wait: Whether to wait for an owned cluster's work; it is finished in any case.
            cancel_futures: Cancel what isn't done; what runs is stopped.
        """
        link = self._tie
        if link is None:
            return
        if cancel_futures:
            link.session.cancel_all()
        if wait and self._owned:
            link.session.wait_for_all()
        if self._let_go(when_idle=self._owned and not wait) and wait:
            self._await_end()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """The same as `close`, by `concurrent.futures`' name."""
        self.close(wait, cancel_futures=cancel_futures)

    def stop(self, force: bool = False) -> None:
        """End the cluster for everyone.

        Args:
            force: Also while others use it or jobs are open.

        Raises:
            ClusterBusy: they do, and it wasn't forced.
            ClusterUnreachable: it couldn't be told, or didn't end.
        """
        session = self._link.session
        asked_until = time.monotonic() + END_SECONDS if session.away else None
        try:
            answer_to(session.ask(StopCluster(force)), asked_until)
        except TimeoutError:
            raise ClusterUnreachable(
                f"the cluster {self.name!r} died, and isn't back: there is nothing to stop. What it accepted goes on when "
                "its scheduler is started again; close() stops looking for it"
            ) from None
        deadline = time.monotonic() + END_SECONDS
        connection = session.connection
        while any(each.id == connection.id for each in running_clusters()):
            if time.monotonic() > deadline:
                raise ClusterUnreachable(
                    f"the cluster was told to end, but after {END_SECONDS:.0f} s its process {connection.pid} still runs: "
                    f"it may still be writing its journal. `kill {connection.pid}` ends it if it doesn't end by itself"
                )
            pause(POLL_SECONDS)
        self._let_go(when_idle=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(ended_well=kind is None)
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        leave = functools.partial(self._leave, ended_well=kind is None)
        await asyncio.get_running_loop().run_in_executor(None, leave)
        return False

    # ---- inside ----------------------------------------------------------------------------------------------------

    @property
    def _link(self) -> Tie:
        if self._tie is None:
            raise unreachable(repr(self))
        return self._tie

    def _map(
        self,
        options: JobOptions,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | str | None,
    ) -> Job[T]:
        deadline = deadline_of(timeout)
        return Job(self._link.opener.map(fn, iterables, options), deadline)

    def _ask(self, question: Question) -> Answer:
        answer, _ = answer_to(self._link.session.ask(question))
        return answer

    def _status(self) -> ClusterStatus:
        status = self._ask(Status()).status
        assert status is not None
        return status

    def _leave(self, *, ended_well: bool) -> None:
        link = self._tie
        if link is None:
            return
        if ended_well:
            link.session.wait_for_all()
        else:
            link.session.cancel_all()
        if self._let_go(when_idle=False):
            self._await_end()

    def _let_go(self, *, when_idle: bool) -> bool:
        """Use the link no more; returns whether nobody does now."""
        link, self._tie = self._tie, None
        if link is None:
            return False
        self._finalizer.detach()
        return link.let_go("it was closed here", when_idle=when_idle)

    def _await_end(self) -> None:
        """An owned cluster's process is gone when `close` returns."""
        if self._owned and self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()


class ClusterOptions:
    """A cluster, with options for what is sent through it."""

    def __init__(self, cluster: Cluster, options: JobOptions) -> None:
        self._cluster = cluster
        self._options = options

    def __repr__(self) -> str:
        set_ = ", ".join(f"{name}={value!r}" for name, value in self._options.changed().items())
        return f"<{self._cluster!r} with {set_ or 'no options'}>"

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As `Cluster.submit`; the call is a job of its own."""
        reject_options(fn, kwargs, "submit")
        return self._cluster._link.opener.submit_alone(fn, args, kwargs, self._options)  # noqa: SLF001 (one class in two)

    def map(
        self, fn: Callable[..., T], /, *iterables: Iterable[Any], timeout: float | str | None = None, chunksize: int = 1
    ) -> Job[T]:
        """As `Cluster.map`."""
        return self._cluster._map(self._options, fn, iterables, timeout)  # noqa: SLF001

    def serve(self, name: str, fn: F) -> F:
        """As `Cluster.serve`; the options hold for each of its calls. With a time limit each is a call of its own."""
        return serve(self._cluster._link, name, fn, self._options)  # noqa: SLF001


def _takes_none() -> None:
    """A function that takes no keyword."""


def _refuse_inside_item(what: str) -> None:
    if os.environ.get("TWISTCLUSTER_SLOT") == "1":
        raise InsideItem(
            f"{what} was asked for inside an item: have the function return what it found, and submit more "
            "from the program that has the cluster"
        )


def connect(target: str | os.PathLike[str]) -> Cluster:
    """Attach to a cluster that runs: by its name, its id, or its connection file; one on another machine by its address.

    Args:
        target: A name, an id, a path, or "tls://HOST:PORT". For an address this user must have joined that cluster
            (`twistcluster join HOST:PORT`), or TWISTCLUSTER_TOKEN in the environment has a token for a client.

    Raises:
        ClusterUnreachable: there is none, or it can't be reached.
        AccessDenied: it is somebody else's, or this user has not joined it.
        ValueError: the address is none.
        TwistclusterError: what TLS needs isn't installed.

    Example:
        >>> cluster = tc.connect("tls://box:8930")       # doctest: +SKIP
    """
    _refuse_inside_item("a connection to a cluster")
    cluster = Cluster.__new__(Cluster)
    named = os.fspath(target)
    cluster._begin(reach(named) if is_elsewhere(named) else find(named), "", None)  # noqa: SLF001 (the other way to make one)
    return cluster


def clusters() -> Clusters:
    """The clusters that this user runs on this host."""
    return Clusters(running_clusters())
