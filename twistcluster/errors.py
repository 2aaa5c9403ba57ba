"""Every exception that a user can meet, in one tree.

Owns: their names and places. Each message says what happened, to which job and item, and what to do next. Must not
know: any other module of the package.
"""

import concurrent.futures

__all__ = [
    "AccessDenied",
    "Cancelled",
    "ClusterBusy",
    "ClusterUnreachable",
    "DependencyFailed",
    "Detached",
    "ExtraMissing",
    "InputEnded",
    "InsideItem",
    "JobNotFound",
    "JournalDamaged",
    "JournalFull",
    "JournalInUse",
    "JournalLost",
    "JournalUnusable",
    "ModelError",
    "ModelFailed",
    "ModelOutputUnknown",
    "ModelRefused",
    "NotPicklable",
    "ObjectLost",
    "OptionsDiffer",
    "PictureDamaged",
    "PictureElsewhere",
    "PictureError",
    "PictureExists",
    "PictureNameRefused",
    "PictureTooLarge",
    "PictureUnknown",
    "PictureUnreadable",
    "PictureUnwritable",
    "ProtocolError",
    "RemoteError",
    "RemoteTraceback",
    "ResultsGone",
    "ServerNotFound",
    "StepFailed",
    "StoreFull",
    "TaskTimeout",
    "TwistclusterError",
    "VersionMismatch",
    "WorkerCrashed",
    "WorkerLost",
]


class TwistclusterError(Exception):
    """Base of all of twistcluster's errors but `Detached`."""


class Cancelled(TwistclusterError, concurrent.futures.CancelledError):
    """The item, or the job it belongs to, was cancelled."""


class ClusterUnreachable(TwistclusterError, ConnectionError):
    """No such cluster runs here, it didn't start, or the link to it was lost."""


class AccessDenied(TwistclusterError, PermissionError):
    """The cluster, or a file or socket of it, belongs to somebody else; or a token or certificate isn't taken."""


class VersionMismatch(TwistclusterError):
    """The peer speaks another protocol, or runs another minor version of Python; a newer version wrote the journal."""


class ProtocolError(TwistclusterError):
    """A peer said something that the protocol doesn't allow. The link to it is closed, nothing else is."""


class OptionsDiffer(TwistclusterError, ValueError):
    """A cluster of this name runs, with other options than those asked for."""


class ClusterBusy(TwistclusterError):
    """The cluster wasn't stopped, because others use it or jobs are open."""


class JobNotFound(TwistclusterError, LookupError):
    """No job of this name or id is known to the cluster."""


class ServerNotFound(TwistclusterError, LookupError):
    """The cluster has no server of this name."""


class ResultsGone(TwistclusterError, LookupError):
    """The cluster handed these results to another client and holds them no more."""


class NotPicklable(TwistclusterError, TypeError):
    """A function, an argument or a result can't travel to another process."""


class InsideItem(TwistclusterError, RuntimeError):
    """An item asked for what only a client may ask, such as `submit`."""


class InputEnded(TwistclusterError):
    """The source of a lazy job's items raised an error, or its client went away, before its end."""


class WorkerCrashed(TwistclusterError):
    """The slot that ran the item died, as often as an item may make it die."""


class TaskTimeout(TwistclusterError, TimeoutError):
    """The item ran longer than its `time_limit`, and was stopped."""


class WorkerLost(TwistclusterError):
    """The workers that ran the item were lost, as often as an item may be tried again."""


class DependencyFailed(TwistclusterError):
    """What the item waited for failed; the cause is that item's own exception."""


class ObjectLost(TwistclusterError, LookupError):
    """A value is in no store any more, and can't be made again."""


class StoreFull(TwistclusterError, OSError):
    """A large value fits neither into shared memory nor onto the disk."""


class JournalDamaged(TwistclusterError):
    """What lies in a journal's place is none, or parts of it are broken."""


class JournalInUse(TwistclusterError):
    """Another scheduler that lives has this journal."""


class JournalUnusable(TwistclusterError, OSError):
    """A journal can't be where it should: on a network file system, or where nothing can be written."""


class JournalFull(TwistclusterError, OSError):
    """The journal can't be written just now, mostly because a disk is full. What waits for it is not lost."""


class JournalLost(TwistclusterError, OSError):
    """The journal's file is gone while its cluster runs: nothing is kept any more."""


class PictureError(TwistclusterError):
    """Base of what can be wrong with one picture. The other pictures of its pipeline are not touched."""


class PictureUnreadable(PictureError, OSError):
    """A picture's file can't be opened or read."""


class PictureElsewhere(PictureUnreadable):
    """A path is the client's, and the worker that was asked doesn't see that file."""


class PictureUnknown(PictureError, ValueError):
    """No picture, or one of a format that this Pillow can't read."""


class PictureDamaged(PictureError, ValueError):
    """A picture's bytes break off or make no sense to its decoder."""


class PictureTooLarge(PictureError, ValueError):
    """A picture has more pixels than may be decoded. Nothing of it was."""


class StepFailed(PictureError):
    """A step can't be done on this picture."""


class PictureUnwritable(PictureError, OSError):
    """A picture can't be encoded in this format, or its file can't be written."""


class PictureExists(PictureError, FileExistsError):
    """A picture isn't saved: a file of its name is there, and overwriting wasn't asked for."""


class PictureNameRefused(PictureError, ValueError):
    """A picture's name, by its pattern, is none or would leave the folder that it is saved to."""


class ModelError(TwistclusterError):
    """Base of what can be wrong with a model that recognises pictures."""


class ModelRefused(ModelError, ValueError):
    """A model can't be used: no such file, no ONNX model, or one that takes no pictures; or labels don't fit to it."""


class ModelOutputUnknown(ModelRefused):
    """What a model gives are neither classes nor boxes that are known; `decode=` says how to read it."""


class ModelFailed(ModelError, RuntimeError):
    """A model failed on pictures, or gave numbers that are none."""


class ExtraMissing(TwistclusterError, ImportError):
    """A library isn't installed that comes with one of twistcluster's extras; the message says which."""


class RemoteError(TwistclusterError):
    """An item raised an exception that can't be rebuilt here: its type's name, message and traceback as text."""


class RemoteTraceback(Exception):
    """The cause of an item's own exception: the traceback of the slot that ran it, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Detached(KeyboardInterrupt):
    """An interrupt while something was awaited: the wait ended, the work goes on."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback, which would say where it waited: our code."""
        return f"{type(self).__name__}: {self}".splitlines()
