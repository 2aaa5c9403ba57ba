"""A scheduler's end for other hosts, and workers there with stores of their own, over real TLS, on one reactor."""

import itertools
import time

from twisted.internet import defer, protocol
from twisted.internet.defer import ensureDeferred

from twistcluster.net.addresses import Address
from twistcluster.net.link import Link
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import ClientEnd, ServerEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls, listen_tls
from twistcluster.nodes.fetched import Fetched
from twistcluster.nodes.fetching import Fetching
from twistcluster.nodes.remote import RemotePeers
from twistcluster.nodes.suppliers import Suppliers
from twistcluster.storage.folder import StoreFolder
from twistcluster.storage.layout import ObjectGone
from twistcluster.storage.values import ValueStore
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import Freed, Hello, Report, SchedulerToWorker, Stored, Welcome
from twistcluster.wire.pages import FramedPacker, stored_row

LOST_AFTER_S = 2.0
_numbers = itertools.count()


class Hosts:
    """The scheduler's host. It is the node, too: it welcomes whoever comes."""

    def __init__(self, steps, folder, **options):
        self.steps = steps
        self.authority = Authority.open(folder / "authority", "lab", time.time())
        self.folder = StoreFolder.create("scheduler")
        self.store = ValueStore(self.folder.path)
        self.heard, self.denied, self.workers = [], [], []
        self.peers = RemotePeers(
            steps.reactor,
            self,
            steps.turn,
            self.store,
            denied=lambda: self.denied,
            lost_after_s=LOST_AFTER_S,
            **options,
        )
        self.end = ServerEnd(self.member("scheduler"), lambda serial: serial in self.denied)
        self.port = listen_tls(steps.reactor, "127.0.0.1", 0, self.peers, steps.turn, self.end)
        self.address = Address("127.0.0.1", self.port.getHost().port)

    def member(self, role):
        key = make_key()
        return Identity.made(
            key, self.authority.issue(public_bytes(key), role, "box", time.time()), self.authority.certificate
        )

    def worker(self, **places):
        self.workers.append(Worker(self, **places))
        return self.workers[-1]

    def on_message(self, link, message, buffers):
        self.heard.append((link, message, buffers))
        if isinstance(message, Hello):
            link.send(Welcome("e", "c", "n", "3.11", "0"))

    def on_lost(self, link, reason):
        pass

    on_paused = on_resumed = lambda self, link: None

    def brings(self, name):
        """Whether the value is here then."""
        told = []
        self.peers.bring(name, told.append)
        self.steps.until(lambda: told)
        return told[0] is None

    def parts(self, name):
        try:
            return [bytes(part) for part in self.store.parts(name)]
        except ObjectGone:
            return None

    def stop(self):
        for worker in self.workers:
            worker.stop()
        self.steps.result(self.port.stopListening())
        self.peers.close()
        self.steps.until(lambda: not self.peers.value_links() and all(worker.is_gone() for worker in self.workers))
        self.folder.remove()


class Worker:
    """One elsewhere.

    Args:
        scheduler: where it looks for it; the real place if not given.
        at: gets its real port for values and gives the one that it names.
    """

    def __init__(self, hosts, scheduler=None, at=lambda port: port):
        self.hosts, self.steps = hosts, hosts.steps
        self.identity = hosts.member("worker")
        self.process = f"p{next(_numbers)}"
        self.store = Fetched(self.steps.reactor)
        self.slot = ValueStore(self.store.folder)
        self.suppliers = Suppliers(
            self.steps.reactor,
            self.steps.turn,
            scheduler or hosts.address,
            lambda: self.identity,
            read=self.store.held,
            keep=self.store.keep,
            lost_after_s=LOST_AFTER_S,
        )
        self.fetching = Fetching(self.steps.reactor, self.store, self.suppliers)
        self.at = at
        self.heard = []
        self.link = None
        self.join()

    def join(self):
        link = Link(self, self.steps.turn, self.steps.reactor, Codec(SchedulerToWorker))
        self.steps.result(
            ensureDeferred(connect_tls(self.steps.reactor, *self.hosts.address, link, ClientEnd(self.identity)))
        )
        self.port = self.suppliers.listen(link.here)
        link.send(Hello(1, "worker", "3.11", "0", self.process, 1, "h", 1, port=self.at(self.port)))
        self.steps.until(lambda: self.link is not None)

    def leave(self):
        self.link.abort("the test cuts it")
        self.steps.until(lambda: self.link is None)

    def on_message(self, link, message, buffers):
        self.heard.append(message)
        if isinstance(message, Welcome):
            self.link = link
            self.fetching.joined(link, message, self.process)
        elif (rest := self.fetching.heard(message)) is not None and isinstance(rest, Freed):
            self.slot.freed(rest.ids)

    def on_lost(self, link, reason):
        self.link = None
        self.fetching.left()

    on_paused = on_resumed = lambda self, link: None

    def makes(self, *parts):
        """A slot's result, and what it is known by."""
        name, nbytes = self.slot.put(parts)
        packer = FramedPacker()
        packer.add(stored_row(name, nbytes), (), (name, nbytes))
        report = Report(1, 0, 1, 1, 0.1, objects=[Stored(0, name, nbytes)])
        self.fetching.made(report.objects)
        before = len(self.hosts.heard)
        self.link.send(report, packer.packed().buffers)
        self.link.flush()
        self.steps.until(lambda: len(self.hosts.heard) > before)
        return name

    def fetches(self, name):
        """Whether the value is here then."""
        told = []
        self.fetching.wanted(name, told.append)
        self.steps.until(lambda: told)
        return told[0] is None

    def parts(self, name):
        found = self.store.held(name)
        return None if found is None else [bytes(part) for part in found.parts]

    def is_gone(self):
        return self.link is None and not self.suppliers.busy

    def stop(self):
        self.suppliers.close()
        if self.link is not None:
            self.link.close("the test ends")
        self.slot.close()
        self.store.close()


class Wire:
    """A cable between two ports of loopback, that can be cut after so many bytes, or carry nothing."""

    def __init__(self, steps, port, cut_after=None):
        self.steps, self.port, self.cut_after = steps, port, cut_after
        self.carried = 0
        """Bytes towards whoever connected."""
        self.silent = False
        self.ends = []
        factory = protocol.Factory()
        factory.protocol = lambda: _Near(self)
        self.listening = steps.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.number = self.listening.getHost().port

    def cut(self):
        for end in self.ends:
            end.transport.abortConnection()
            if end.far is not None:
                end.far.transport.abortConnection()
        self.ends.clear()

    def stop(self):
        self.steps.result(defer.maybeDeferred(self.listening.stopListening))
        self.cut()
        self.steps.reactor.iterate(0.01)


class _Near(protocol.Protocol):
    def __init__(self, wire):
        self.wire, self.far, self.early = wire, None, b""

    def connectionMade(self):
        self.wire.ends.append(self)
        caller = protocol.ClientFactory()
        caller.noisy = False
        caller.protocol = lambda: _Far(self)
        self.wire.steps.reactor.connectTCP("127.0.0.1", self.wire.port, caller)

    def dataReceived(self, data):
        if self.far is None:
            self.early += data
        else:
            self.far.transport.write(data)

    def connectionLost(self, reason):
        if self.far is not None:
            self.far.transport.loseConnection()


class _Far(protocol.Protocol):
    def __init__(self, near):
        self.near, self.wire = near, near.wire

    def connectionMade(self):
        self.near.far = self
        self.transport.write(self.near.early)
        self.transport.registerProducer(self.near.transport, True)
        self.near.transport.registerProducer(self.transport, True)

    def dataReceived(self, data):
        wire = self.wire
        if wire.silent:
            return
        wire.carried += len(data)
        self.near.transport.write(data)
        if wire.cut_after is not None and wire.carried >= wire.cut_after:
            wire.cut_after = None
            wire.cut()

    def connectionLost(self, reason):
        self.near.transport.loseConnection()
