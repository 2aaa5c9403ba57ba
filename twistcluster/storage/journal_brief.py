"""Jobs that were opened and forgotten between two commits: nothing of them need be written.

A program that submits and takes the result, again and again, makes hundreds of these a second. Owns: which rows are of
no account. Must not know: statements, threads.
"""

from collections.abc import Sequence

from twistcluster.core.rows import (
    BlobRow,
    Change,
    ClientRow,
    ContextRow,
    EntryRow,
    JobRow,
    JobsGone,
    PageRow,
    ServerRow,
)

__all__ = ["nbytes", "settled", "without_brief"]


def settled(calls: Sequence[Sequence[Change]]) -> int:
    """How many of these, from the first on, can be written with no unnamed job in them that was opened there and isn't gone.

    Example:
        >>> opened = JobRow(7, "a", 1, "abs-1", False, b"", 0.0)
        >>> settled([[opened], [JobsGone((7,))], [opened]]), settled([[opened]])
        (2, 0)
    """
    count, opened = 0, set()
    for at, changes in enumerate(calls, 1):
        for change in changes:
            if type(change) is JobRow:
                if not change.named:
                    opened.add(change.key)
            elif type(change) is JobsGone:
                opened.difference_update(change.jobs)
        if not opened:
            count = at
    return count


def nbytes(changes: Sequence[Change]) -> int:
    """The bytes in pages and results."""
    rows = (change for change in changes if isinstance(change, PageRow | EntryRow))
    return sum(memoryview(each).nbytes for row in rows for each in row.buffers)


def without_brief(changes: Sequence[Change]) -> Sequence[Change]:
    """The changes without those of jobs that begin and end in them, and what only these named.

    What is left of several rows of a client is the highest. If all that is left is that clients had such jobs, nothing
    is: who comes back never says a job again that it was done with.

    Example:
        >>> without_brief([ClientRow("a", 1), JobRow(7, "a", 1, "abs-1", False, b"", 0.0), JobsGone((7,))])
        []
    """
    opened: set[int] = set()
    brief: set[int] = set()
    for change in changes:
        if type(change) is JobRow:
            opened.add(change.key)
            brief.discard(change.key)
        elif type(change) is JobsGone:
            brief.update(opened.intersection(change.jobs))
    if not brief:
        return changes
    left: list[Change] = []
    named: set[bytes] = set()
    brief_named: set[bytes] = set()
    contexts: dict[bytes, ContextRow] = {}
    highest: dict[str, ClientRow] = {}
    for change in changes:
        if isinstance(change, JobsGone):
            keys = tuple(key for key in change.jobs if key not in brief)
            if keys:
                left.append(JobsGone(keys))
            continue
        key = change.key if isinstance(change, JobRow) else getattr(change, "job", None)
        names = brief_named if key in brief else named
        if isinstance(change, JobRow | PageRow | EntryRow | ServerRow):
            names.update(change.blobs)
            if isinstance(change, JobRow | ServerRow):
                names.add(change.context)
        elif isinstance(change, ContextRow):
            contexts[change.digest] = change
        elif isinstance(change, ClientRow):
            before = highest.get(change.id)
            if before is None or change.sequence >= before.sequence:
                highest[change.id] = change
        if key not in brief:
            left.append(change)
    for digests in (brief_named, named):
        for digest in list(digests & contexts.keys()):
            digests.update(contexts[digest].blobs)
    useless = brief_named - named
    left = [
        change
        for change in left
        if not (
            (isinstance(change, BlobRow | ContextRow) and change.digest in useless)
            or (isinstance(change, ClientRow) and highest[change.id] is not change)
        )
    ]
    return left if any(type(change) is not ClientRow for change in left) else []
