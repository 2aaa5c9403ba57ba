"""A job without a cluster: a `JobFeed` that tests, and cells of a real kernel, feed by hand or from a thread."""

import io
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw

from twistcluster.client.views import JobListener, JobState, Progress
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import FramedPacker, Packed, all_plain, pack_plain
from twistcluster.wire.values import dumps

__all__ = ["FakeFeed", "FakePictures", "Found", "found", "pack", "photo", "play"]


def pack(values: list[Any], definitions: Definitions | None = None) -> Packed:
    """Pack results as a slot does."""
    if all_plain(values):
        return pack_plain(values)
    packer = FramedPacker()
    named: dict[bytes, None] = {}
    for value in values:
        encoded = dumps(value, definitions)
        packer.add(encoded.data, encoded.buffers)
        named.update(dict.fromkeys(encoded.definitions))
    return packer.packed(definitions=tuple(named))


class FakeFeed:
    """A job of `count` items. `finish`, `fail`, `say` and `end` are what a cluster would do."""

    def __init__(self, label: str = "make_thumb-3", count: int | None = 10, origin: object | None = None) -> None:
        self.id = f"fake/{label}"
        self.label = label
        self.origin = origin
        self.definitions = Definitions()
        self.count = count
        self.state: JobState = "running"
        self.told: list[tuple[str, int, Any]] = []
        self._done = self._failed = 0
        self._started = time.monotonic()
        self._elapsed: float | None = None
        self._listeners: list[JobListener] = []
        self._lock = threading.RLock()
        self._ended = threading.Event()

    # ---- JobFeed ---------------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """How far it is."""
        elapsed = self._elapsed if self._elapsed is not None else time.monotonic() - self._started
        finished = self._done + self._failed
        rate = finished / elapsed if elapsed > 0 else 0.0
        left = (self.count - finished) / rate if rate and self.count is not None else None
        running = 0 if self._ended.is_set() else 2
        return Progress(
            state=self.state,
            count=self.count,
            done=self._done,
            failed=self._failed,
            cancelled=0,
            running=running,
            rate=rate,
            seconds_left=left,
            elapsed=elapsed,
            waiting="",
        )

    def subscribe(self, listener: JobListener) -> Callable[[], None]:
        """Tell all there is, then what comes."""
        with self._lock:
            for kind, index, what in self.told:
                getattr(listener, kind)(index, what)
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def definition(self, digest: bytes) -> bytes:
        """The blob of a class."""
        return self.definitions.blob(digest)

    def error(self, index: int) -> BaseException:
        """What an item raised."""
        return RuntimeError(f"item {index}")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end."""
        return self._ended.wait(timeout)

    # ---- the cluster's part ------------------------------------------------------------------------------------------

    def finish(self, first: int, values: list[Any]) -> None:
        """Items succeeded."""
        self._tell("results", first, pack(values, self.definitions), done=len(values))

    def fail(self, index: int, kind: str = "ValueError", message: str = "no such picture") -> None:
        """An item failed."""
        self._tell("failed", index, ErrorInfo("raised", kind, message), failed=1)

    def say(self, index: int, text: str) -> None:
        """An item printed something."""
        self._tell("printed", index, text)

    def end(self, state: JobState = "done") -> None:
        """The job is over."""
        with self._lock:
            self._elapsed = time.monotonic() - self._started
            self.state = state
            self._ended.set()
            for listener in self._listeners:
                listener.changed()

    def _tell(self, kind: str, index: int, what: Any, done: int = 0, failed: int = 0) -> None:
        with self._lock:
            self._done += done
            self._failed += failed
            self.told.append((kind, index, what))
            for listener in self._listeners:
                getattr(listener, kind)(index, what)
                listener.changed()


class FakePictures(FakeFeed):
    """A pipeline of pictures. `broken`: the full pictures of these can't be fetched."""

    store = ""

    def __init__(self, label: str = "pictures-1", count: int | None = 10, broken: tuple[int, ...] = ()) -> None:
        super().__init__(label, count)
        self.broken = broken
        self.called: dict[int, str] = {}
        self.fetched: list[int] = []

    def names(self, index: int) -> str:
        """What a picture is called."""
        return self.called.get(index, f"IMG_{index:04}.jpg")

    def full(self, index: int) -> tuple[str, bytes]:
        """The whole picture."""
        self.fetched.append(index)
        if index in self.broken:
            raise FileNotFoundError(f"no such file: {self.names(index)}")
        return "image/jpeg", photo(index, 960, 720)


class Found:
    """What a recognizer returns, as a gallery sees it."""

    def __init__(self, preview: bytes, size: tuple[int, int], labels: list[tuple[Any, ...]]) -> None:
        self.preview = preview
        self.size = size
        self.labels = labels

    def __tile__(self) -> tuple[bytes, tuple[int, int], list[tuple[Any, ...]]]:
        return self.preview, self.size, self.labels


def found(number: int) -> Found:
    """A photograph in which something was found: one to three labels, two of three with a box."""
    dice = random.Random(number)
    labels = []
    for place in range(1 + number % 3):
        left, top = dice.randrange(0, 600), dice.randrange(0, 400)
        box = (left, top, left + 240, top + 240) if number % 3 else None
        labels.append(
            (("sun", "ridge", "sky", "valley")[(number + place) % 4], 0.98 - 0.3 * place - number % 20 / 100, box)
        )
    return Found(photo(number, 256, 192), (960, 720), labels)


def photo(number: int, width: int = 320, height: int = 240) -> bytes:
    """A JPEG that looks like something, another one for each number."""
    dice = random.Random(number)
    sky = (dice.randrange(90, 200), dice.randrange(140, 220), 235)
    image = Image.new("RGB", (width, height), sky)
    draw = ImageDraw.Draw(image)
    for ridge in range(3):
        points = [(x, height * (0.45 + 0.17 * ridge) + dice.randrange(-25, 25)) for x in range(0, width + 40, 40)]
        shade = 150 - 45 * ridge
        draw.polygon([*points, (width, height), (0, height)], fill=(shade // 2, shade, shade // 2 + 10))
    sun = dice.randrange(20, width - 60)
    draw.ellipse((sun, 20, sun + 40, 60), fill=(255, 220, 120))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


def play(
    feed: FakeFeed,
    make: Callable[[int], Any],
    seconds: float,
    fails: tuple[int, ...] = (),
    says: dict[int, str] | None = None,
    batch: int = 1,
) -> threading.Thread:
    """Let a job of `feed.count` items run for that long, in a thread; `batch` results come at a time."""
    count = feed.count or 0

    def run() -> None:
        begun = time.monotonic()
        for index in range(0, count, batch):
            due = begun + seconds * (index + 1) / count
            while (rest := due - time.monotonic()) > 0:
                time.sleep(rest)
            if says and index in says:
                feed.say(index, says[index])
            if index in fails:
                feed.fail(index)
            else:
                feed.finish(index, [make(number) for number in range(index, min(count, index + batch))])
        feed.end("failed" if fails else "done")

    thread = threading.Thread(target=run, name="fake cluster", daemon=True)
    thread.start()
    return thread
