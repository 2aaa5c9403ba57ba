"""Lines and wires to no cluster: what would have been said is written down."""

from twistcluster.client.shelf import Shelf
from twistcluster.wire.pages import FramedPacker, pack_plain
from twistcluster.wire.values import Definitions, dumps


class Wire:
    """What an outbox sends its messages to."""

    def __init__(self):
        self.sent = []

    def send(self, message, buffers=()):
        self.sent.append(message)


class FakeLine:
    """What a job says what it wants to."""

    def __init__(self):
        self.definitions = Definitions()
        self.values = self.reads = None
        self.lost = None
        self.said = []
        self.soon = lambda call: call()
        self.shelf = Shelf(self)

    def cancel(self, number, start, stop):
        self.said.append(("cancel", number, start, stop))

    def retry(self, record):
        self.shelf.add(record)
        self.said.append(("retry", record.number))

    def keep_results(self, record):
        self.said.append(("keep", record.number))

    def over(self, record):
        self.shelf.over(record)
        self.said.append(("over", record.number))

    def first_error(self, record, failure):
        self.said.append(("error", record.number, failure.index))

    def dropped(self, number):
        self.said.append(("dropped", number))

    def keep(self, kept):
        self.shelf.keep(kept)

    def fetched(self, record):
        self.shelf.fetched(record)

    def of(self, kind):
        return [each for each in self.said if each[0] == kind]


def plain(*values):
    return pack_plain(list(values))


def framed(*values):
    packer = FramedPacker()
    for value in values:
        encoded = dumps(value)
        packer.add(encoded.data, encoded.buffers)
    return packer.packed()


def pickled(error):
    encoded = dumps(error)
    return [encoded.data, *encoded.buffers]
