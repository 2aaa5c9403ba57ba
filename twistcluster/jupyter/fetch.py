"""Full pictures, fetched while somebody waits for one.

Owns: the threads that do it (`PictureFeed.full` may take seconds, and must be called neither on the reactor's thread nor
on the main one), and that the latest wish counts. Must not know: front ends.
"""

import threading
from collections.abc import Callable

from twistcluster.client.texts import spelled_out

__all__ = ["Fetched", "Fetcher"]

THREADS = 3
"""One that hangs must not keep the next picture from coming."""

Fetched = tuple[int, str, bytes, str]
"""Index, mime type, the encoded picture; or why there is none."""


class Fetcher:
    """Fetches one view's full pictures.

    Args:
        full: `PictureFeed.full`.
        deliver: Is called with what came of it, in a thread of this class: hand on only.
    """

    def __init__(self, full: Callable[[int], tuple[str, bytes]], deliver: Callable[[Fetched], None]) -> None:
        self._full = full
        self._deliver = deliver
        self._lock = threading.Lock()
        self._next: int | None = None
        self._threads = 0

    def ask(self, index: int) -> None:
        """Fetch this one next; a wish that waits is given up."""
        with self._lock:
            self._next = index
            if self._threads >= THREADS:
                return
            self._threads += 1
        threading.Thread(target=self._run, name="twistcluster full picture", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                index, self._next = self._next, None
                if index is None:
                    self._threads -= 1
                    return
            try:
                mime, data = self._full(index)
                fetched: Fetched = (index, mime, data, "")
            except BaseException as error:
                fetched = (index, "", b"", spelled_out(str(error).strip()) or type(error).__name__)
            self._deliver(fetched)
