"""How a pipeline's job is opened: which items it is handed, and what becomes of paths that no worker sees.

Owns: that. Must not know: steps, results, views.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from twistcluster.client.links import Tie
from twistcluster.client.options import JobOptions
from twistcluster.client.reading import Errors
from twistcluster.client.records import JobRecord
from twistcluster.client.requests import answer_to
from twistcluster.errors import PictureError
from twistcluster.images.job import PictureJob
from twistcluster.images.listing import packed_listing
from twistcluster.images.mending import Mender
from twistcluster.images.source import File, Item, Member, Unfit
from twistcluster.images.sources import Names, Sources
from twistcluster.images.work import AlreadyThere, Pictures
from twistcluster.wire.messages import ErrorInfo, Status
from twistcluster.wire.pages import Packed

__all__ = ["ClusterOfPictures", "Start", "start", "there", "with_bytes"]


class ClusterOfPictures(Protocol):
    """What a pipeline needs of a cluster."""

    @property
    def _link(self) -> Tie: ...

    def serve(self, name: str, fn: Callable[[Any], Any]) -> Any:
        """Keep a function that programs can ask."""


Start = Callable[[Item], Item | AlreadyThere]
"""Looks at each item before it leaves: what is handed on in its place."""


def start(
    tie: Tie,
    sources: Sources,
    work: Pictures,
    options: JobOptions,
    errors: Errors,
    look: Start | None = None,
    *,
    quiet: bool = False,
) -> PictureJob:
    """Open the job of a pipeline.

    Args:
        tie: To the cluster.
        sources: Its pictures.
        work: What is done with each.
        options: Of the job.
        errors: What its results do with errors, unless they are told otherwise.
        look: Looks at each item before it leaves.
        quiet: Its first error isn't shown: somebody else tells of errors.
    """
    names = Names()
    if not sources.has_paths:
        listed = _listed(sources.items(), names, look)
        given = [*listed] if sources.held is not None else listed
        return PictureJob(tie.opener.map(work, (given,), options, quiet=quiet), names, work, errors)
    paths = _Paths(tie, work, options)
    items = _listed(sources.items(), names, look)
    handed: Iterator[Any] = map(with_bytes, items) if _travels(tie) else paths.watched(items)
    record = tie.opener.map(work, (handed,), options, paths.mender, quiet=quiet)
    record.subscribe(paths)
    job = PictureJob(record, names, work, errors)
    job.mended = lambda: paths.mender.met
    return job


def there(link: Callable[[], Tie], path: str) -> Iterator[tuple[str, str]]:
    """The files of a pattern or folder on a worker's disk, and their folders relative to it."""
    packed: bytes = link().opener.submit(packed_listing, (path,), {}).result()
    at = 0
    while at < len(packed):
        end = packed.index(b"\0", at)
        file, _, folder = packed[at:end].decode("utf-8", "surrogateescape").partition("\1")
        yield file, folder
        at = end + 1


def _listed(items: Iterable[Item], names: Names, look: Start | None) -> Iterator[Any]:
    for item in items:
        names.add(item.source.name)
        yield item if look is None else look(item)


def _travels(tie: Tie) -> bool:
    """Whether bytes are to be sent from the start: the client is on another host, or a worker is, or there is none yet.

    Where this is wrong nothing breaks: bytes are good everywhere, and paths that a worker doesn't see are mended.
    """
    if tie.session.connection.kind == "elsewhere":
        return True
    answer, _ = answer_to(tie.session.ask(Status()))
    workers = answer.status.workers if answer.status is not None else []
    return not workers or any(worker.serial for worker in workers)


def with_bytes(item: Any) -> Any:  # an `Item`, or what took its place
    """An item of a path of this program's, with the bytes that are there."""
    if not isinstance(item, Item) or not isinstance(item.source, File | Member):
        return item
    if isinstance(item.source, File) and item.source.proof is None:
        return item
    try:
        return Item(item.number, item.source.sent())
    except PictureError as error:
        return Item(item.number, Unfit(item.source.name, error, item.source.folder))


class _Paths:
    """The items of paths that are on their way: if their worker doesn't see the file, their bytes follow.

    It listens to the job, and forgets what is done.
    """

    def __init__(self, tie: Tie, work: Pictures, options: JobOptions) -> None:
        self._tie = tie
        self._work = work
        self._options = options
        self._lock = threading.Lock()
        self._items: dict[int, Item] = {}
        self.mender = Mender(self._item, self._second)

    def watched(self, items: Iterator[Any]) -> Iterator[Any]:
        """As they are, as long as workers see them; then with their bytes."""
        for item in items:
            if self.mender.met:
                yield with_bytes(item)
                continue
            if isinstance(item, Item) and isinstance(item.source, File | Member):
                self._items[item.number] = item
            yield item

    def _item(self, index: int) -> Item:
        item: Item = with_bytes(self._items[index])
        return item

    def _second(self, items: Iterator[Item]) -> JobRecord:
        options = self._options
        if options.name:
            options = JobOptions.of(
                options.priority,
                options.resources,
                f"{options.name}-sent",
                options.retries,
                options.time_limit or None,
                options.max_crashes,
            )
        return self._tie.opener.map(self._work, (items,), options, quiet=True)

    def results(self, first: int, packed: Packed) -> None:
        """Items succeeded."""
        for index in range(first, first + packed.count):
            self._items.pop(index, None)

    def failed(self, index: int, error: ErrorInfo) -> None:
        """An item failed; it may be tried again."""

    def printed(self, index: int, text: str) -> None:
        """Nothing to do."""

    def changed(self) -> None:
        """Nothing to do."""
