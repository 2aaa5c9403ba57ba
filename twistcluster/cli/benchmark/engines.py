"""The engines: this cluster and its peers, each behind the same five calls.

Owns: how each is started, fed and stopped, in the way that its own manual shows. Must not know: what is measured.
Peers' libraries are imported where used: an engine that isn't installed is left out.
"""

import contextlib
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final, Protocol

__all__ = ["ENGINES", "OURS", "Engine", "Pool", "TunedPool", "Twistcluster", "installed"]

OURS: Final = "twistcluster"

Function = Callable[[Any], Any]


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

    def call(self, function: Function, item: object) -> object:
        """One call, waited for."""

    def stop(self) -> None:
        """End its processes."""


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

    def call(self, function: Function, item: object) -> object:
        """One submit."""
        return self.cluster.submit(function, item).result()

    def stop(self) -> None:
        """Ends the cluster too: it is unnamed."""
        self.cluster.close()


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

    def call(self, function: Function, item: object) -> object:
        """One submit."""
        result: object = self.client.submit(function, item, pure=False).result()
        return result

    def stop(self) -> None:
        """Ends its processes."""
        with contextlib.suppress(TimeoutError):
            self.client.close()
        self.cluster.close()


ENGINES: Final[dict[str, Callable[[], Engine]]] = {
    kind.key: kind for kind in (Twistcluster, Pool, TunedPool, Loky, Dask)
}
"""In the order of the table; the first is what the others are compared with."""


def installed(key: str) -> bool:
    """Whether the library that an engine takes is here."""
    return importlib.util.find_spec(ENGINES[key]().needs) is not None
