"""An opener whose session leads to no cluster: what it sends is written down."""

import itertools

from tests.client.line import FakeLine
from twistcluster.client.context import ContextBook
from twistcluster.client.functions import FunctionBook
from twistcluster.client.handles import Put
from twistcluster.client.holdings import Holdings
from twistcluster.client.inbox import Inbox
from twistcluster.client.opening import Opener
from twistcluster.client.options import JobOptions
from twistcluster.client.outbox import Outbox
from twistcluster.wire.messages import Keep, OpenJob, Page, Stored


class FakeStore:
    def __init__(self):
        self.values = {}
        self.dropped = []

    def put(self, value):
        name = len(self.values).to_bytes(16, "big")
        self.values[name] = value
        return Put(Stored(0, name, 1000), ())

    def get(self, name, nbytes):
        return self.values[name]

    def drop(self, name):
        self.dropped.append(name)


class FakeSession(FakeLine):
    """A session, and the link under it."""

    def __init__(self):
        super().__init__()
        self.store = FakeStore()
        self.sent = []
        self._numbers = itertools.count(1)
        self._outbox = Outbox(self.definitions)
        self._outbox.attach(self)
        self._later = []
        self.holdings = Holdings()
        unkept = self._outbox.unkept
        self.inbox = Inbox(self.shelf, self.definitions, self.do, None, lambda _: None, self.holdings, unkept)
        self.opener = Opener(self, FunctionBook(self.definitions), ContextBook())

    def send(self, message, buffers=()):
        self.sent.append((message, [*buffers]))

    def next_number(self):
        return next(self._numbers)

    def id_of(self, number):
        return f"id-{number}"

    def check(self):
        if self.lost is not None:
            raise self.lost

    def told(self, outbox, stored, parts=()):
        outbox.send(Keep(stored), parts)

    def do(self, action):
        self._later.append(action)

    def soon(self, call):
        call()

    def turn(self):
        """Let leave what waits for the reactor's turn; returns the messages that were sent by it."""
        before = len(self.sent)
        while self._later:
            self._later.pop(0)(self._outbox)
        return [message for message, _ in self.sent[before:]]

    def hear(self, message, buffers=()):
        self.inbox.handlers[type(message)](message, [*buffers])

    def cancel(self, number, start, stop):
        self.do(lambda outbox: outbox.cancel(number, start, stop))

    def submit(self, function, *args, **kwargs):
        return self.opener.submit(function, args, kwargs)

    def map(self, function, *iterables, name=""):
        return self.opener.map(function, iterables, JobOptions(name=name))


def opened(messages):
    return [each for each in messages if isinstance(each, OpenJob)]


def pages(messages):
    return [each for each in messages if isinstance(each, Page)]
