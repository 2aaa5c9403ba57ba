"""A cluster as a backend of joblib, and so of scikit-learn.

Owns: that adapter. Must not know: links. joblib is imported when it is asked for: whoever asks has it.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from twistcluster.client.futures import Future

__all__ = ["joblib_backend"]


def joblib_backend(cluster: Executor, slots: Callable[[], int]) -> Any:
    """Return a backend for `joblib.parallel_config(backend=…)`.

    Args:
        cluster: Where the work goes.
        slots: How many it has now.
    """
    try:
        from joblib.parallel import ParallelBackendBase
    except ImportError:
        raise ImportError("joblib isn't installed here: pip install joblib") from None

    class ClusterBackend(ParallelBackendBase):  # type: ignore[misc]
        default_n_jobs = -1
        supports_retrieve_callback = True

        def __init__(self) -> None:
            super().__init__()
            self.open: set[Future[Any]] = set()

        def effective_n_jobs(self, n_jobs: int | None) -> int:
            """All slots, or as many as are asked for; -2 are all but one."""
            there = max(1, slots())
            if n_jobs is None or n_jobs == 0:
                return there
            return min(n_jobs, there) if n_jobs > 0 else max(1, there + 1 + n_jobs)

        def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
            """Run one batch of joblib's."""
            future = cluster.submit(func)
            assert isinstance(future, Future)
            self.open.add(future)
            future.add_done_callback(self.open.discard)
            if callback is not None:
                future.add_done_callback(callback)
            return future

        apply_async = submit  # its name before joblib 1.5

        def retrieve_result_callback(self, out: Future[Any]) -> Any:
            """The results of a batch."""
            return out.result()

        def abort_everything(self, ensure_ready: bool = True) -> None:
            """A batch failed: what hasn't started isn't wanted any more."""
            for future in list(self.open):
                future.cancel()

    return ClusterBackend()
