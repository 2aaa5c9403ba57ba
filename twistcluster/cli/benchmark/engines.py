"""The engines: this cluster and its peers, each behind the same calls.

Owns: how each is started, fed and stopped, in the way that its own manual shows. Must not know: what is measured.
Peers' libraries are imported where used: an engine that isn't installed is left out.
"""

import contextlib
import importlib.util
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final, Protocol, runtime_checkable

__all__ = [
    "ENGINES",
    "OURS",
    "Engine",
    "HandWritten",
    "Keeper",
    "Pool",
    "TunedPool",
    "Twistcluster",
    "Unstored",
    "installed",
]

OURS: Final = "twistcluster"

Function = Callable[..., Any]


class Engine(Protocol):
    """What a measure may ask of an engine. `key` names it on the command line, `needs` the library it takes."""

    key: str
    title: str
    needs: str

    def start(self, slots: int) -> None:
        """Start the engine's processes, or prepare to start them with the first work."""

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Results in order, as they come; closing the iterator drops the rest."""

    def submit(self, function: Function, items: Iterable[Any]) -> Sequence[Any]:
        """One call an item, gathered."""

    def send(self, function: Function, values: Sequence[Any]) -> Sequence[Any]:
        """One call a value, where the values are large; results are small."""

    def call(self, function: Function, item: object) -> object:
        """One call, waited for."""

    def stop(self) -> None:
        """End its processes."""


@runtime_checkable
class Keeper(Engine, Protocol):
    """An engine that keeps values where they were made, and hands on references."""

    def hold(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Make all results and wait until they are there; the iterator fetches them."""

    def share(self, function: Function, value: object, items: Iterable[Any]) -> Sequence[Any]:
        """`function(value, item)` for each item, by single submits; the value travels once."""

    def chain(self, functions: Sequence[Function], items: Iterable[Any]) -> Sequence[Any]:
        """The first function maps the items, each other one the results before it; the last one's results."""


class Twistcluster:
    """A local cluster of its own."""

    key = OURS
    title = "twistcluster"
    needs = "twistcluster"

    def start(self, slots: int) -> None:
        """An unnamed cluster: it belongs to this process."""
        import twistcluster as tc

        self.cluster = tc.Cluster(slots=slots)

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """One job; it is cancelled if nobody wants the rest."""
        job = self.cluster.map(function, items)
        try:
            yield from job
        finally:
            if not job.done():
                job.cancel()

    def submit(self, function: Function, items: Iterable[Any]) -> Sequence[Any]:
        """Single submits."""
        import twistcluster as tc

        return tc.gather([self.cluster.submit(function, item) for item in items])

    def send(self, function: Function, values: Sequence[Any]) -> Sequence[Any]:
        """A map."""
        return list(self.map(function, values))

    def call(self, function: Function, item: object) -> object:
        """One submit."""
        return self.cluster.submit(function, item).result()

    def hold(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """A map that is done."""
        job = self.cluster.map(function, items)
        job.wait()
        return iter(job)

    def share(self, function: Function, value: object, items: Iterable[Any]) -> Sequence[Any]:
        """`put`, and submits with the reference."""
        import twistcluster as tc

        reference = self.cluster.put(value)
        return tc.gather([self.cluster.submit(function, reference, item) for item in items])

    def chain(self, functions: Sequence[Function], items: Iterable[Any]) -> Sequence[Any]:
        """Maps over jobs."""
        for function in functions:
            items = self.cluster.map(function, items)
        return list(items)

    def stop(self) -> None:
        """Ends the cluster too: it is unnamed."""
        self.cluster.close()


class Unstored(Twistcluster):
    """The same without its store of large values: all of them travel through sockets."""

    key = "unstored"
    title = "twistcluster without its store"

    def start(self, slots: int) -> None:
        """The cluster's process reads this when it starts."""
        os.environ["TWISTCLUSTER_STORE"] = "off"
        super().start(slots)


class Pool:
    """The standard library's executor, as it comes."""

    key = "pool"
    title = "ProcessPoolExecutor"
    needs = "concurrent.futures"
    chunksize = 1

    def start(self, slots: int) -> None:
        """Its processes start with the first work."""
        self.executor = ProcessPoolExecutor(slots)

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """One task a chunk."""
        return iter(self.executor.map(function, items, chunksize=self.chunksize))

    def submit(self, function: Function, items: Iterable[Any]) -> Sequence[Any]:
        """Single submits."""
        return [future.result() for future in [self.executor.submit(function, item) for item in items]]

    def send(self, function: Function, values: Sequence[Any]) -> Sequence[Any]:
        """A map."""
        return list(self.map(function, values))

    def call(self, function: Function, item: object) -> object:
        """One submit."""
        return self.executor.submit(function, item).result()

    def stop(self) -> None:
        """Ends its processes."""
        self.executor.shutdown(cancel_futures=True)


class TunedPool(Pool):
    """The same with the chunksize that a patient person would have found: the best of several tries."""

    key = "tuned"
    title = "ProcessPoolExecutor, best chunksize"


class HandWritten(Pool):
    """The same, for work that is split by hand into a part for each process."""

    key = "hand"
    title = "hand-written batches in processes"


class Loky:
    """joblib with its default backend; single submits go to an executor of loky, which joblib stands on."""

    key = "joblib"
    title = "joblib (loky)"
    needs = "joblib"

    def start(self, slots: int) -> None:
        """Its processes start with the first work."""
        from joblib import Parallel, delayed
        from joblib.externals.loky import ProcessPoolExecutor as LokyExecutor

        self.delayed = delayed
        self.parallel = Parallel(slots, return_as="generator")
        self.executor = LokyExecutor(slots)

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Joblib chooses batches by itself. What isn't wanted is waited for: closing its generator ends its processes."""
        results: Iterator[Any] = self.parallel(self.delayed(function)(item) for item in items)
        try:
            yield from results
        finally:
            for _ in results:
                pass

    def submit(self, function: Function, items: Iterable[Any]) -> Sequence[Any]:
        """Single submits."""
        return [future.result() for future in [self.executor.submit(function, item) for item in items]]

    def send(self, function: Function, values: Sequence[Any]) -> Sequence[Any]:
        """A map, which is what writes arrays of more than a megabyte to files that its processes map."""
        return list(self.map(function, values))

    def call(self, function: Function, item: object) -> object:
        """One submit."""
        return self.executor.submit(function, item).result()

    def stop(self) -> None:
        """Ends its processes, and those that `Parallel` shares."""
        from joblib.externals.loky import get_reusable_executor

        self.executor.shutdown(kill_workers=True)
        get_reusable_executor().shutdown(kill_workers=True)


class Dask:
    """A local cluster of dask.distributed: a process of one thread for each slot."""

    key = "dask"
    title = "dask.distributed"
    needs = "distributed"

    def start(self, slots: int) -> None:
        """The client waits for all of them."""
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(
            n_workers=slots, threads_per_worker=1, dashboard_address=None, silence_logs=50, memory_limit=0
        )
        self.client = Client(self.cluster)

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """One task an item; results come gathered but for the first."""
        futures = self.client.map(function, list(items), pure=False)
        try:
            yield futures[0].result()
            yield from itertools.islice(self.client.gather(futures), 1, None)
        finally:
            self.client.cancel(futures)

    def submit(self, function: Function, items: Iterable[Any]) -> Sequence[Any]:
        """Single submits."""
        results: list[Any] = self.client.gather([self.client.submit(function, item, pure=False) for item in items])
        return results

    def send(self, function: Function, values: Sequence[Any]) -> Sequence[Any]:
        """Single submits: with arrays of 8 MiB they were a little faster than `map`, and than `scatter` and `map`."""
        return self.submit(function, values)

    def call(self, function: Function, item: object) -> object:
        """One submit."""
        result: object = self.client.submit(function, item, pure=False).result()
        return result

    def hold(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Futures that are done."""
        from distributed import wait

        futures = self.client.map(function, list(items), pure=False)
        wait(futures)
        return itertools.chain.from_iterable(map(self.client.gather, [futures]))  # not before they are asked for

    def share(self, function: Function, value: object, items: Iterable[Any]) -> Sequence[Any]:
        """`scatter` to all, and submits with the future. A hash of the contents would cost more than they do."""
        future = self.client.scatter(value, broadcast=True, hash=False)
        results: list[Any] = self.client.gather(
            [self.client.submit(function, future, item, pure=False) for item in items]
        )
        return results

    def chain(self, functions: Sequence[Function], items: Iterable[Any]) -> Sequence[Any]:
        """Maps over futures."""
        chained = list(items)
        for function in functions:
            chained = self.client.map(function, chained, pure=False)
        results: list[Any] = self.client.gather(chained)
        return results

    def stop(self) -> None:
        """Ends its processes."""
        with contextlib.suppress(TimeoutError):
            self.client.close()
        self.cluster.close()


class Ray:
    """Ray on this machine: a process for each core that it is given."""

    key = "ray"
    title = "Ray"
    needs = "ray"

    def start(self, slots: int) -> None:
        """Its processes start with the first work. It is told to report nothing, and to leave nothing in /tmp."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        self.ray = ray
        self.folder = tempfile.TemporaryDirectory(prefix="ray-")
        self.remotes: dict[Function, Any] = {}
        ray.init(
            num_cpus=slots,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=self.folder.name,
        )

    def remote(self, function: Function) -> Callable[..., Any]:
        """It takes no builtins; and a function travels once if it is made remote once."""
        if function not in self.remotes:
            self.remotes[function] = self.ray.remote(lambda *arguments: function(*arguments))  # noqa: PLW0108
        call: Callable[..., Any] = self.remotes[function].remote
        return call

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """One task an item; results come together but for the first."""
        call = self.remote(function)
        references = [call(item) for item in items]
        yield self.ray.get(references[0])
        yield from self.ray.get(references[1:])

    def submit(self, function: Function, items: Iterable[Any]) -> Sequence[Any]:
        """One task an item."""
        return list(self.map(function, items))

    def send(self, function: Function, values: Sequence[Any]) -> Sequence[Any]:
        """Put each, which is nearly twice as fast as large arguments."""
        return self.submit(function, map(self.ray.put, values))

    def call(self, function: Function, item: object) -> object:
        """One task."""
        result: object = self.ray.get(self.remote(function)(item))
        return result

    def hold(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """References to results that are there."""
        call = self.remote(function)
        references = [call(item) for item in items]
        self.ray.wait(references, num_returns=len(references))
        return map(self.ray.get, references)

    def share(self, function: Function, value: object, items: Iterable[Any]) -> Sequence[Any]:
        """Put once, and tasks with the reference."""
        call, reference = self.remote(function), self.ray.put(value)
        results: list[Any] = self.ray.get([call(reference, item) for item in items])
        return results

    def chain(self, functions: Sequence[Function], items: Iterable[Any]) -> Sequence[Any]:
        """Tasks with references."""
        chained = list(items)
        for function in functions:
            call = self.remote(function)
            chained = [call(one) for one in chained]
        results: list[Any] = self.ray.get(chained)
        return results

    def stop(self) -> None:
        """Ends its processes."""
        self.ray.shutdown()
        self.folder.cleanup()


ENGINES: Final[dict[str, Callable[[], Engine]]] = {
    kind.key: kind for kind in (Twistcluster, Unstored, Pool, TunedPool, HandWritten, Loky, Dask, Ray)
}
"""In the order of the table; the first is what the others are compared with."""


def installed(key: str) -> bool:
    """Whether the library that an engine takes is here."""
    return importlib.util.find_spec(ENGINES[key]().needs) is not None
