"""What the cluster answers about itself, as plain text tables.

Owns: their look. Must not know: how the answers came.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from twistcluster.client.launch import Connection
from twistcluster.client.quantities import duration_text
from twistcluster.wire.messages import ClusterStatus, JobStatus, ServerStatus, WorkerStatus

__all__ = ["ClusterReport", "Clusters", "Jobs", "Servers", "Versions", "Workers", "remarks", "serials", "table"]


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what stands in them; numbers to the right.

    Example:
        >>> print(table(["worker", "slots"], [["local", 2]]))
        worker  slots
        local       2
    """
    cells = [[f"{cell:,}" if type(cell) is int else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    numbers = [all(isinstance(row[at], (int, float)) for row in rows) for at in range(len(headers))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in [list(headers), *cells]
    ]
    return "\n".join(lines)


def remarks(workers: Sequence[WorkerStatus]) -> list[str]:
    """What else is to be said of workers, a line each, to stand below a table of them."""
    lines = [f"{each.name} is {each.short}" for each in workers if each.short]
    for each in workers:
        if each.suspect:
            lines.append(f"{each.name} is a suspect ({each.suspect}): it gets nothing new until it answers")
        if each.stopped:
            pids = " ".join(map(str, each.stopped))
            lines.append(f"{each.name} has stopped slots: kill -CONT {pids} lets them go on")
        if each.leaving:
            lines.append(f"{each.name} is leaving: it finishes what it runs")
    return lines


def serials(status: ClusterStatus) -> list[str]:
    """The members on other machines, a line each with what `twistcluster deny` takes."""
    named = [(each.name, each.serial) for each in status.workers]
    clients = zip(status.clients, status.client_serials, strict=False)
    return [f"{name} is on another machine, serial {serial}" for name, serial in [*named, *clients] if serial]


class Workers(list[WorkerStatus]):
    """The workers of a cluster."""

    def __repr__(self) -> str:
        if not self:
            return "no workers"
        rows = [
            [
                each.name,
                each.host,
                str(each.pid),
                each.slots,
                each.busy,
                each.crashes,
                duration_text(each.since),
                _resources(each),
            ]
            for each in self
        ]
        headers = ["worker", "host", "pid", "slots", "busy", "crashes", "up", "resources"]
        if any(each.serial for each in self):  # of those on other machines
            headers.append("serial")
            rows = [[*row, each.serial or "-"] for row, each in zip(rows, self, strict=True)]
        return "\n".join([table(headers, rows), *remarks(self)])


class Jobs(list[JobStatus]):
    """The jobs that a cluster knows, the newest first."""

    def __repr__(self) -> str:
        if not self:
            return "no jobs"
        rows: list[list[Any]] = [
            [
                each.label,
                each.state,
                "?" if each.count is None else f"{each.count:,}",
                each.done,
                each.failed,
                each.running,
                duration_text(each.age),
                "this" if each.yours else each.client,
                each.id,
            ]
            for each in self
        ]
        return table(["job", "state", "items", "done", "failed", "running", "age", "client", "id"], rows)


class Servers(list[ServerStatus]):
    """The servers of a cluster, by name."""

    def __repr__(self) -> str:
        if not self:
            return "no servers"
        rows: list[list[Any]] = [
            [each.name, each.function, each.asked, duration_text(each.age), "this" if each.yours else each.client]
            for each in self
        ]
        return table(["server", "function", "asked", "age", "client"], rows)


class Clusters(list[Connection]):
    """The clusters that this user runs on this host."""

    def __repr__(self) -> str:
        if not self:
            return "no clusters: tc.Cluster() starts one"
        rows = [
            [each.name or "(owned)", each.id, each.kind, each.slots, str(each.pid), each.started[:16]] for each in self
        ]
        return table(["name", "id", "kind", "slots", "pid", "started (UTC)"], rows)


class Versions(dict[str, dict[str, str]]):
    """Who runs which version: "client", "scheduler" and each worker -> name -> version."""

    def __repr__(self) -> str:
        names = list(dict.fromkeys(name for each in self.values() for name in each))
        rows = [[name, *(each.get(name, "-") for each in self.values())] for name in names]
        return table(["", *self], rows)


class ClusterReport(ClusterStatus, tag=True):
    """How a cluster is."""

    @classmethod
    def of(cls, status: ClusterStatus) -> "ClusterReport":
        """The same, with a face for people."""
        return cls(*msgspec.structs.astuple(status))

    def _clients(self) -> list[str]:
        serials = [*self.client_serials, *[""] * len(self.clients)]
        return [
            f"{name} (serial {serial})" if serial else name for name, serial in zip(self.clients, serials, strict=False)
        ]

    def __repr__(self) -> str:
        workers = Workers(self.workers)
        slots = sum(each.slots for each in workers)
        rows = [
            ["cluster", self.name or f"{self.id} (owned)"],
            ["up", f"{duration_text(self.uptime)}, pid {self.pid}, Python {self.python}"],
            ["clients", ", ".join(self._clients()) or "none"],
            [
                "slots",
                f"{slots:,} on {len(workers):,} worker{'s' * (len(workers) != 1)}, {sum(w.busy for w in workers):,} busy",
            ],
            ["jobs", f"{self.jobs_open:,} open, {self.items_pending:,} items to do"],
        ]
        width = max(len(row[0]) for row in rows)
        lines = [f"{name:<{width}}  {text}" for name, text in rows]
        return "\n".join([*lines, "", repr(workers)])


def _resources(worker: WorkerStatus) -> str:
    return ", ".join(f"{name}={amount:g}" for name, amount in worker.resources.items()) or "-"
