"""A journal on paper: what it was told, row by row, and the answers that a scheduler that comes back gets from it."""

from twistcluster.core import rows

__all__ = ["Paper"]


class Paper:
    def __init__(self):
        self._clients = {}
        self._blobs = {}
        self._contexts = {}
        self._jobs = {}
        self._states = {}
        self._names = {}
        self._pages = {}
        self._entries = {}
        self._tallies = {}

    def record(self, changes):
        for row in changes:
            match row:
                case rows.ClientRow():
                    self._clients[row.id] = max(self._clients.get(row.id, -1), row.sequence)
                case rows.BlobRow():
                    self._blobs.setdefault(row.digest, bytes(row.data))
                case rows.ContextRow():
                    self._contexts[row.digest] = row
                case rows.JobRow():
                    self._jobs[row.key] = row
                    self._name(row.key, row.blobs)
                case rows.StateRow():
                    self._states[row.job] = row
                case rows.PageRow():
                    self._pages[row.job, row.first] = row._replace(buffers=tuple(map(bytes, row.buffers)))
                    self._name(row.job, row.blobs)
                case rows.PagesGone():
                    for first in row.firsts:
                        self._pages.pop((row.job, first), None)
                case rows.EntryRow():
                    assert (row.job, row.position) not in self._entries
                    self._entries[row.job, row.position] = row._replace(buffers=tuple(map(bytes, row.buffers)))
                    self._name(row.job, row.blobs)
                case rows.TallyRow():
                    self._tallies[row.job, row.item, row.kind] = row
                case rows.JobsGone():
                    for job in row.jobs:
                        self._forget(job)
                case _:
                    raise AssertionError(row)

    def _name(self, job, blobs):
        self._names.setdefault(job, {}).update(dict.fromkeys(blobs))

    def _forget(self, job):
        del self._jobs[job]
        for found in (self._states, self._names):
            found.pop(job, None)
        for found in (self._pages, self._entries, self._tallies):
            for key in [key for key in found if key[0] == job]:
                del found[key]

    # ---- what a scheduler asks (core.restoring.Facts) ----

    def clients(self):
        return [rows.ClientRow(*each) for each in self._clients.items()]

    def contexts(self):
        return list(self._contexts.values())

    def blob(self, digest):
        return self._blobs.get(digest)

    def jobs(self):
        return [(self._jobs[key], self._states.get(key)) for key in sorted(self._jobs)]

    def names(self, job):
        return list(self._names.get(job, ()))

    def pages(self):
        found = [self._pages[key] for key in sorted(self._pages)]
        return [rows.PageHead(p.job, p.first, p.items, p.header, sum(map(len, p.buffers))) for p in found]

    def page(self, job, first):
        return self._pages.get((job, first))

    def entries(self):
        found = [self._entries[key] for key in sorted(self._entries)]
        return [
            rows.EntryHead(e.job, e.position, e.kind, e.first, e.items, e.header, sum(map(len, e.buffers)))
            for e in found
        ]

    def tallies(self):
        return [row for row in self._tallies.values() if row.n]

    def read_log(self, job, place):
        return [self._entries[key] for key in sorted(self._entries) if key[0] == job and key[1] >= place]
