"""How many slots this process may use.

Owns: the count of cores that affinity and the cgroup's quota allow. Must not know: what slots are.
"""

import math
import os
import pathlib

from twistcluster.nodes.cgroups import OWN, V2, cgroups

__all__ = ["usable_cores"]

_OWN = OWN
_V2 = V2
_V1 = pathlib.Path("/sys/fs/cgroup/cpu")


def usable_cores() -> int:
    """Cores that this process may use, at least one: `os.cpu_count()` is wrong in a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _quota() -> float | None:
    """The tightest quota of this process's cgroup and those above it, in cores; None: there is none."""
    folders = cgroups("cpu", _OWN, _V2, _V1)
    quotas = [_quota_v2(folder) if version == 2 else _quota_v1(folder) for version, folder in folders]
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def _quota_v2(folder: pathlib.Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: pathlib.Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError, ZeroDivisionError):
        return None
