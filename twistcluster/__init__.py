"""A cluster for notebooks: map and submit from a cell, see results while they come.

Importing this starts nothing and loads nothing: each name is fetched from its module when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twistcluster import models
    from twistcluster.client.futures import Future
    from twistcluster.client.jobs import Job
    from twistcluster.client.references import Reference
    from twistcluster.client.waiting import as_completed, gather, wait
    from twistcluster.cluster import Cluster, clusters, connect
    from twistcluster.errors import (
        AccessDenied,
        Cancelled,
        ClusterBusy,
        ClusterUnreachable,
        DependencyFailed,
        Detached,
        ExtraMissing,
        InputEnded,
        InsideItem,
        JobNotFound,
        JournalDamaged,
        JournalFull,
        JournalInUse,
        JournalLost,
        JournalUnusable,
        ModelError,
        ModelFailed,
        ModelOutputUnknown,
        ModelRefused,
        NotPicklable,
        ObjectLost,
        OptionsDiffer,
        PictureDamaged,
        PictureElsewhere,
        PictureError,
        PictureExists,
        PictureNameRefused,
        PictureTooLarge,
        PictureUnknown,
        PictureUnreadable,
        PictureUnwritable,
        ProtocolError,
        RemoteError,
        RemoteTraceback,
        ResultsGone,
        ServerNotFound,
        StepFailed,
        StoreFull,
        TaskTimeout,
        TwistclusterError,
        VersionMismatch,
        WorkerCrashed,
        WorkerLost,
    )
    from twistcluster.jupyter.extension import load_ipython_extension, unload_ipython_extension

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "Cancelled",
    "Cluster",
    "ClusterBusy",
    "ClusterUnreachable",
    "DependencyFailed",
    "Detached",
    "ExtraMissing",
    "Future",
    "InputEnded",
    "InsideItem",
    "Job",
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
    "Reference",
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
    "as_completed",
    "clusters",
    "connect",
    "gather",
    "load_ipython_extension",
    "models",
    "unload_ipython_extension",
    "wait",
]

_PLACES = {
    "Cluster": "twistcluster.cluster",
    "Future": "twistcluster.client.futures",
    "Job": "twistcluster.client.jobs",
    "Reference": "twistcluster.client.references",
    "as_completed": "twistcluster.client.waiting",
    "clusters": "twistcluster.cluster",
    "connect": "twistcluster.cluster",
    "gather": "twistcluster.client.waiting",
    "load_ipython_extension": "twistcluster.jupyter.extension",
    "unload_ipython_extension": "twistcluster.jupyter.extension",
    "wait": "twistcluster.client.waiting",
}
"""Where a name is that isn't an error's."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "models":
        return importlib.import_module("twistcluster.models")
    value = getattr(importlib.import_module(_PLACES.get(name, "twistcluster.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
