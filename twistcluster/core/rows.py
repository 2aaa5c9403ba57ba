"""What a journal is told, as rows: each names one fact that holds from then on.

Owns: the rows and their words. A row's `header` is an encoded message and its `buffers` are that message's: bytes that
the journal gives back as it got them. `blobs` are the digests that a row names: a blob stays as long as a job or a server,
or the context of one, names it. Must not know: files, threads, what a message means.
"""

from typing import Literal, NamedTuple, TypeAlias

from twistcluster.wire.frames import Buffer

__all__ = [
    "BlobRow",
    "Change",
    "ClientRow",
    "ContextRow",
    "DenialRow",
    "DenialsGone",
    "EntryHead",
    "EntryKind",
    "EntryRow",
    "JobRow",
    "JobSize",
    "JobsGone",
    "ObjectsGone",
    "PageHead",
    "PageRow",
    "PagesGone",
    "RenewalRow",
    "RenewalsGone",
    "ServerRow",
    "ServersGone",
    "StateRow",
    "StoredRow",
    "TallyKind",
    "TallyRow",
    "TokenRow",
    "TokensGone",
]

EntryKind: TypeAlias = Literal["results", "failed", "cancelled", "output", "closed", "cancel", "retried", "keep"]
"""What was told of a job; the last three are what was asked for."""
TallyKind: TypeAlias = Literal["crash", "loss", "try"]


class ClientRow(NamedTuple):
    """A client; of two rows the higher sequence counts."""

    id: str
    sequence: int
    """All its jobs up to this number were seen."""


class BlobRow(NamedTuple):
    """A function, a class definition, a module's source, a file. Written once: more rows of it are ignored.

    Record it together with every job that names it: so it is there also if the last job that named it went meanwhile.
    """

    digest: bytes
    data: Buffer


class ContextRow(NamedTuple):
    """A context. Written once, as a blob is."""

    digest: bytes
    header: bytes
    blobs: tuple[bytes, ...] = ()


class JobRow(NamedTuple):
    """A job that was accepted."""

    key: int
    client: str
    number: int
    label: str
    named: bool
    header: bytes
    created: float
    """Wall-clock seconds."""
    context: bytes = b""
    """Digest."""
    blobs: tuple[bytes, ...] = ()


class StateRow(NamedTuple):
    """How far a job has come; the newest counts."""

    job: int
    items: int | None
    """How many it has, where that is known."""
    input_error: str
    state: str
    ended: float | None = None
    """Wall-clock seconds."""


class PageRow(NamedTuple):
    """A page of a job's items; one that begins with the same item takes its place."""

    job: int
    first: int
    items: int
    header: bytes
    buffers: tuple[Buffer, ...]
    blobs: tuple[bytes, ...] = ()


class PagesGone(NamedTuple):
    """These pages won't be needed again."""

    job: int
    firsts: tuple[int, ...]


class EntryRow(NamedTuple):
    """One message of a job's log."""

    job: int
    position: int
    kind: EntryKind
    first: int
    items: int
    header: bytes
    buffers: tuple[Buffer, ...]
    blobs: tuple[bytes, ...] = ()


class TallyRow(NamedTuple):
    """What counts against an item; the newest counts, 0 takes it back."""

    job: int
    item: int
    kind: TallyKind
    n: int


class StoredRow(NamedTuple):
    """An object that the cluster owns."""

    id: bytes
    nbytes: int
    place: str
    """The store, or the file."""


class ObjectsGone(NamedTuple):
    """The cluster owns these objects no more."""

    ids: tuple[bytes, ...]


class JobsGone(NamedTuple):
    """These jobs are forgotten: with their pages, logs and tallies, and with blobs that nobody else names."""

    jobs: tuple[int, ...]


class ServerRow(NamedTuple):
    """A server; the newest of a name counts."""

    name: str
    client: str
    """Name of the client that set it up, for people."""
    created: float
    """Wall-clock seconds."""
    header: bytes
    """What each of its jobs is made like."""
    context: bytes = b""
    """Digest."""
    blobs: tuple[bytes, ...] = ()


class ServersGone(NamedTuple):
    """These servers ended, or others are about to take their places."""

    names: tuple[str, ...]


class TokenRow(NamedTuple):
    """A token for joining; the newest of a digest counts."""

    digest: bytes
    state: bytes
    """JSON of a `TokenState`."""


class TokensGone(NamedTuple):
    """These tokens ended long ago."""

    digests: tuple[bytes, ...]


class DenialRow(NamedTuple):
    """A certificate that is shut out, with those that it was renewed with."""

    serial: str
    """Of the first of them."""
    at: float
    """Wall-clock seconds."""


class RenewalRow(NamedTuple):
    """A certificate that took another's place."""

    serial: str
    first: str
    """The serial of the first of those that took each other's place."""
    ends_at: float
    """Wall-clock seconds."""


class DenialsGone(NamedTuple):
    """Certificates with these serials have ended: that they are shut out is of no account."""

    serials: tuple[str, ...]


class RenewalsGone(NamedTuple):
    """These certificates have ended."""

    serials: tuple[str, ...]


Change: TypeAlias = (
    ClientRow
    | BlobRow
    | ContextRow
    | JobRow
    | StateRow
    | PageRow
    | PagesGone
    | EntryRow
    | TallyRow
    | StoredRow
    | ObjectsGone
    | JobsGone
    | ServerRow
    | ServersGone
    | TokenRow
    | TokensGone
    | DenialRow
    | DenialsGone
    | RenewalRow
    | RenewalsGone
)


class PageHead(NamedTuple):
    """A page without its buffers."""

    job: int
    first: int
    items: int
    header: bytes
    nbytes: int


class EntryHead(NamedTuple):
    """An entry without its buffers."""

    job: int
    position: int
    kind: EntryKind
    first: int
    items: int
    header: bytes
    nbytes: int


class JobSize(NamedTuple):
    """A job that ended, and how many bytes of it the journal holds."""

    job: int
    nbytes: int
    ended: float
