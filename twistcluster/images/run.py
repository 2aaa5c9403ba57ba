"""How a pipeline's job is opened: which items it is handed, and what becomes of paths that no worker sees.

Owns: that. Must not know: steps, results, views.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from twistcluster.client.futures import Future
from twistcluster.client.links import Tie
from twistcluster.client.options import JobOptions
from twistcluster.client.reading import Errors
from twistcluster.client.records import JobRecord
from twistcluster.client.requests import answer_to
from twistcluster.errors import PictureError
from twistcluster.images.job import PictureJob
from twistcluster.images.listed import Listed
from twistcluster.images.listing import packed_listing
from twistcluster.images.mending import Mender
from twistcluster.images.source import File, Item, Member, Source, Unfit
from twistcluster.images.sources import Sources
from twistcluster.images.work import AlreadyThere, Pictures
from twistcluster.wire.messages import Status

__all__ = ["ClusterOfPictures", "Start", "start", "there", "with_bytes"]


class ClusterOfPictures(Protocol):
    """What a pipeline needs of a cluster."""

    @property
    def _link(self) -> Tie: ...


Start = Callable[[Item, bytes], Item | AlreadyThere | Future[Any]]
"""Looks at each item and the stamp of its source before it leaves: what is handed on in its place; a future stands for
the picture as another job made it."""


def start(
    tie: Tie,
    sources: Sources,
    work: Pictures,
    options: JobOptions,
    errors: Errors,
    look: Start | None = None,
    *,
    contents: bool = False,
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
        contents: Its pictures may be saved, now or later: of bytes, images and arrays is noted what is in them now. The
            program may change them, or an iterator be gone through, before anybody saves.
        quiet: Its first error isn't shown: somebody else tells of errors.
    """
    listed = Listed(contents=contents)
    items = _noted(sources.items(), listed, look)
    if not sources.has_paths:
        given = [*items] if sources.held is not None else items
        return PictureJob(tie.opener.map(work, (given,), options, quiet=quiet), listed, work, errors)
    mender = Mender(functools.partial(_sent, listed), functools.partial(_second, tie, work, options))
    handed: Iterator[Any] = (with_bytes(item) if mender.met else item for item in items)
    if _travels(tie):
        handed = map(with_bytes, items)
    job = PictureJob(tie.opener.map(work, (handed,), options, mender, quiet=quiet), listed, work, errors)
    job.mended = lambda: mender.met
    return job


def there(link: Callable[[], Tie], path: str) -> Iterator[tuple[str, str]]:
    """What is in a pattern, folder or archive on a worker's disk, as `listing.listed_there` takes it."""
    packed: bytes = link().opener.submit(packed_listing, (path,), {}).result()
    at = 0
    while at < len(packed):
        end = packed.index(b"\0", at)
        file, _, folder = packed[at:end].decode("utf-8", "surrogateescape").partition("\1")
        yield file, folder
        at = end + 1


def _noted(items: Iterable[Item], listed: Listed, look: Start | None) -> Iterator[Any]:
    for item in items:
        listed.add(item)
        yield item if look is None else look(item, listed.stamp(item.number))


def _sent(listed: Listed, index: int) -> Item:
    """A picture of which a worker doesn't see the file, with its bytes."""
    return _filled(index, listed.name(index), listed.folder(index), functools.partial(listed.sent, index))


def _second(tie: Tie, work: Pictures, options: JobOptions, items: Iterator[Item]) -> JobRecord:
    """The job of such pictures."""
    if options.name:
        options = replace(options, name=f"{options.name}-sent")
    return tie.opener.map(work, (items,), options, quiet=True)


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
    source = item.source
    return _filled(item.number, source.name, source.folder, source.sent)


def _filled(number: int, name: str, folder: str, sent: Callable[[], Source]) -> Item:
    """An item of the bytes that are read now; if they can't be, it fails with that."""
    try:
        return Item(number, sent())
    except PictureError as error:
        return Item(number, Unfit(name, error, folder))
