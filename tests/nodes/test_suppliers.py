"""Values that lie on other hosts: who fetches them from whom, over real TLS, with connections that are lost."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from twisted.internet.defer import ensureDeferred

from tests.net.serving import Raw, goes
from tests.nodes.hosts import Hosts, Wire
from twistcluster.errors import StoreFull
from twistcluster.net.link import Link
from twistcluster.net.tls.ends import ClientEnd
from twistcluster.net.tls.links import connect_tls
from twistcluster.nodes import fetching
from twistcluster.nodes.values_line import Coming, Missed
from twistcluster.storage.pool import Pool
from twistcluster.storage.values import ValueStore
from twistcluster.wire.codec import Codec
from twistcluster.wire.limits import MIB
from twistcluster.wire.messages import (
    Absent,
    Freed,
    Hello,
    Join,
    Page,
    Renamed,
    ShutOut,
    Stored,
    ValuesMessage,
    Welcome,
)

LARGE = [b"\x80pickle", bytes(range(256)) * 40 * 1024, b"", b"end"]
"""Of 10 MiB."""


@pytest.fixture
def hosts(steps, tmp_path):
    made = Hosts(steps, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def wires(steps):
    made = []

    def make(port, **how):
        made.append(Wire(steps, port, **how))
        return made[-1]

    yield make
    for wire in made:
        wire.stop()


def test_a_value_stays_where_it_was_made_until_somebody_needs_it(hosts):
    one, two = hosts.worker(), hosts.worker()
    name = one.makes(*LARGE)
    assert hosts.parts(name) is None and two.parts(name) is None
    assert two.fetches(name)
    assert two.parts(name) == LARGE
    assert hosts.parts(name) is None, "it went from one to the other"
    assert hosts.brings(name) and hosts.parts(name) == LARGE


def test_what_a_page_names_is_fetched_ahead_and_what_nobody_needs_goes_everywhere(hosts):
    one, two = hosts.worker(), hosts.worker()
    name = one.makes(*LARGE)
    (peer,) = [link for link, message, _ in hosts.heard[:2] if message.process == two.process]
    peer.send(Page(1, 0, 1, 1, objects=[Stored(0, name, 5)]), [b"as it is"])
    peer.flush()
    hosts.steps.until(lambda: two.parts(name) is not None)
    assert hosts.brings(name)
    hosts.peers.freed([name])
    hosts.steps.until(lambda: one.parts(name) is None and two.parts(name) is None)
    assert hosts.parts(name) is None
    assert [type(each) for each in one.heard].count(Freed) == 1
    assert not two.fetches(name) and not hosts.brings(name)


def test_what_the_scheduler_s_host_has_comes_from_there(hosts):
    name, _ = hosts.store.put(LARGE)
    one = hosts.worker()
    assert one.fetches(name) and one.parts(name) == LARGE


def test_where_workers_cannot_meet_it_comes_through_the_scheduler(hosts, wires):
    nowhere = wires(1)
    nowhere.stop()
    one, two = hosts.worker(at=lambda _port: nowhere.number), hosts.worker()
    name = one.makes(*LARGE)
    assert two.fetches(name)
    assert two.parts(name) == LARGE and hosts.parts(name) == LARGE
    silent = hosts.worker(at=lambda _port: 0)  # it could have no port
    other = silent.makes(*LARGE)
    assert two.fetches(other) and two.parts(other) == LARGE


@pytest.mark.parametrize("cuts", [1, 9])
def test_a_value_goes_on_where_it_was_when_its_connection_is_lost(hosts, wires, cuts):
    """After too many losses it comes through the scheduler; what came until then needn't come again either."""
    made = []

    def at(port):
        made.append(wires(port, cut_after=3 * MIB))
        return made[0].number

    one, two = hosts.worker(at=at), hosts.worker()
    name = one.makes(*LARGE)
    told = []
    two.fetching.wanted(name, told.append)
    for _ in range(cuts - 1):
        hosts.steps.until(lambda: told or made[0].cut_after is None)
        made[0].cut_after = made[0].carried + 100_000
    hosts.steps.until(lambda: told)
    assert told == [None] and two.parts(name) == LARGE
    assert made[0].carried < 12.5 * MIB
    assert (hosts.parts(name) is None) == (cuts == 1)


def test_the_scheduler_s_host_gets_the_rest_when_a_worker_has_connected_again(hosts, wires):
    wire = wires(hosts.address.port)
    one = hosts.worker(scheduler=hosts.address._replace(port=wire.number))
    name = one.makes(*LARGE)
    hosts.steps.until(lambda: wire.ends)
    cut = wire.cut_far = []
    told = []
    hosts.peers.bring(name, told.append)
    hosts.steps.until(lambda: told or hosts.peers.value_links())
    wire.cut()
    hosts.steps.until(lambda: told)
    assert told == [None] and hosts.parts(name) == LARGE and not cut


def test_silence_is_a_loss(hosts, wires):
    made = []

    def at(port):
        made.append(wires(port))
        return made[0].number

    one, two = hosts.worker(at=at), hosts.worker()
    first, second = one.makes(*LARGE), one.makes(*LARGE)
    assert two.fetches(first)
    made[0].silent = True
    assert two.fetches(second), "through the scheduler, in the end"
    assert hosts.parts(second) == LARGE


def test_a_worker_that_is_gone_has_nothing_and_one_that_comes_back_has_it_all(hosts):
    one, two = hosts.worker(), hosts.worker()
    name, other = one.makes(*LARGE), one.makes(b"\x80", b"x" * 100_000)
    assert two.fetches(other)
    one.leave()
    hosts.steps.until(lambda: not hosts.brings(name))
    assert not two.fetches(name)
    one.join()
    hosts.steps.until(lambda: hosts.brings(name))
    assert two.fetches(name) and two.parts(name) == LARGE
    one.leave()
    hosts.peers._is_counted = lambda each: each != name
    one.join()
    hosts.steps.until(lambda: one.parts(name) is None)
    assert hosts.brings(other), "it came with the one before it"


def test_who_asks_is_told_when_the_worker_goes(hosts, wires):
    wire = wires(hosts.address.port)
    one = hosts.worker(scheduler=hosts.address._replace(port=wire.number))
    name = one.makes(*LARGE)
    hosts.steps.until(hosts.peers.value_links)
    wire.silent = True
    told, all_told = [], []
    hosts.peers.bring(name, told.append)
    hosts.peers.bring_all([name, b"n" * 16], lambda: all_told.append("told"))
    one.leave()
    hosts.steps.until(lambda: told and all_told)
    assert told == [Missed()]


def test_a_worker_whose_file_is_gone_says_so(hosts):
    one, two = hosts.worker(), hosts.worker()
    name = one.makes(*LARGE)
    one.slot.freed([name])
    assert not two.fetches(name) and not hosts.brings(name)
    assert not one.fetches(name)


def test_what_was_made_again_takes_the_name_of_what_was_lost(hosts):
    one, two = hosts.worker(), hosts.worker()
    made, name = one.makes(*LARGE), b"lost" * 4
    assert hosts.peers.renamed(made, name)
    hosts.steps.until(lambda: Renamed(made, name) in one.heard)
    assert two.fetches(name) and two.parts(name) == LARGE and one.parts(made) is None
    here, _ = hosts.store.put(LARGE)
    assert not hosts.peers.renamed(here, name)


def test_what_is_freed_on_its_way_is_not_kept(hosts, wires):
    made = []

    def at(port):
        made.append(wires(port))
        return made[0].number

    one, two = hosts.worker(at=at), hosts.worker()
    name = one.makes(*LARGE)
    told = []
    two.fetching.wanted(name, told.append)
    hosts.steps.until(lambda: made[0].carried > MIB)
    two.fetching.heard(Freed([name]))
    assert told == [Missed()]
    hosts.steps.until(lambda: made[0].carried > 10 * MIB)
    assert two.parts(name) is None


def test_who_is_denied_fetches_nothing(hosts):
    one, two = hosts.worker(), hosts.worker()
    first, second = one.makes(*LARGE), one.makes(*LARGE)
    assert two.fetches(first)
    one.fetching.heard(ShutOut([two.identity.serial]))
    assert two.fetches(second), "through the scheduler, which would have turned it out"
    assert hosts.parts(second) == LARGE
    hosts.denied.append("ab12")
    hosts.peers.shut_out()
    hosts.steps.until(lambda: ShutOut(["ab12"]) in one.heard)
    three = hosts.worker()
    hosts.steps.until(lambda: ShutOut(["ab12"]) in three.heard)


def test_a_cluster_without_a_store_gets_results_inside(hosts):
    hosts.peers._store = hosts.peers._values = None
    one = hosts.worker()
    assert not one.slot.writes


def call(hosts, worker, says, identity):
    """Say something at a worker's port; what comes back."""
    told = Hearer()
    link = Link(told, hosts.steps.turn, hosts.steps.reactor, Codec(ValuesMessage))
    end = ClientEnd(identity, "worker")
    hosts.steps.result(ensureDeferred(connect_tls(hosts.steps.reactor, "127.0.0.1", worker.port, link, end)))
    link.send(says)
    hosts.steps.until(lambda: told.lost or told.heard)
    link.close()
    hosts.steps.until(lambda: told.lost)
    return told.heard


def call_without_a_certificate(hosts, worker, says):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.create_connection(("127.0.0.1", worker.port))
    sock.setblocking(False)
    sock = context.wrap_socket(sock, do_handshake_on_connect=False)
    hosts.steps.until(lambda: goes(sock.do_handshake))
    return Raw(sock, hosts.steps).say(b"".join(Codec(Hello | Join).encode(says, ()))).heard()


class Hearer:
    def __init__(self):
        self.heard, self.lost = [], []

    def on_message(self, link, message, buffers):
        self.heard.append(message)

    def on_lost(self, link, reason):
        self.lost.append(reason)

    on_paused = on_resumed = lambda self, link: None


def hello(role, process="p"):
    return Hello(1, role, "3.11", "0", process, 1, "h", 1)


def test_only_members_come_to_a_worker_and_only_for_values(hosts):
    worker = hosts.worker()
    client = hosts.member("client")
    assert [type(each) for each in call(hosts, worker, hello("values"), client)] == [Welcome]
    (refused,) = call(hosts, worker, hello("worker"), client)
    assert refused.code == "access"
    assert not call(hosts, worker, hello("client"), client)
    (refused,) = call_without_a_certificate(hosts, worker, hello("values"))
    assert "no certificate of this cluster" in refused.message
    assert not call_without_a_certificate(hosts, worker, Join(1, "ab" * 16, b"key")), "it hands out no certificates"
    worker.fetching.heard(ShutOut([client.serial]))
    assert not call(hosts, worker, hello("values"), client)


def test_without_a_port_values_go_through_the_scheduler(hosts):
    one, two = hosts.worker(), hosts.worker()
    assert one.suppliers.listen("127.0.0.1") == one.port, "it has one already"
    one.suppliers._stop_listening()
    assert one.suppliers.listen("127.0.0.1", two.port) == 0
    name = one.makes(*LARGE)
    assert two.fetches(name) and hosts.parts(name) == LARGE


def test_who_leaves_hands_over_what_somebody_may_ask_for(hosts, monkeypatch):
    one, two, three = hosts.worker(), hosts.worker(), hosts.worker()
    name, other = one.makes(*LARGE), one.makes(b"\x80", b"x" * 100_000)
    told = []
    for each in (one, two):
        each.fetching.hand_over(each.link, lambda: told.append("through"))
    assert told == ["through"], "who has nothing needn't wait"
    hosts.steps.until(lambda: len(told) == 2)
    one.leave()
    assert hosts.parts(name) == LARGE and hosts.brings(other)
    assert two.fetches(name)
    monkeypatch.setattr(fetching, "HAND_OVER_S", 0.1)
    for lost in (False, True):
        told.clear()
        three.makes(*LARGE)
        monkeypatch.setattr(three.link, "send", lambda message, buffers=(): None)
        three.fetching.hand_over(three.link, lambda: told.append("late"))
        if lost:
            three.leave()
        hosts.steps.until(lambda: told)
        monkeypatch.undo()
    assert told == ["late"], "once"


def test_copies_make_room_for_others_and_are_fetched_again(hosts, monkeypatch):
    """Both on the scheduler's host and on a worker's; what is nowhere else stays."""
    one, two = hosts.worker(), hosts.worker()
    names = [one.makes(*LARGE) for _ in range(4)]
    room = {hosts.store.folder: 2, two.store.folder: 2}
    write = Pool.write

    def in_little_room(pool, parts, name=None, sizes=None):
        if sum(len(path.name) == 32 for path in Path(pool._folder).iterdir()) >= room.get(pool._folder, 99):
            raise StoreFull("no room")
        return write(pool, parts, name, sizes)

    monkeypatch.setattr(Pool, "write", in_little_room)
    for place in (hosts.brings, two.fetches):
        assert all(place(name) for name in names * 2)
    assert hosts.parts(names[0]) is None and hosts.parts(names[3]) == LARGE
    one.leave()
    hosts.steps.until(lambda: not hosts.brings(names[0]))
    assert hosts.brings(names[3]), "only here now"
    room.update(dict.fromkeys(room, 0))
    one.join()
    told = []
    hosts.peers.bring(names[0], told.append)
    hosts.steps.until(lambda: told)
    assert told == [Missed("no room")]
    told.clear()
    two.fetching.wanted(names[0], told.append)
    hosts.steps.until(lambda: told)
    assert told == [Missed("no room")]


def test_two_versions_of_a_value_never_mix(hosts, wires):
    """Of one it has a part, then its worker is gone, and the value is made again elsewhere, of as many bytes."""
    made = []

    def at(port):
        made.append(wires(port))
        return made[0].number

    one, two, three = hosts.worker(at=at), hosts.worker(), hosts.worker()
    name = one.makes(*LARGE)
    told = []
    two.fetching.wanted(name, told.append)
    hosts.steps.until(lambda: made[0].carried > 2 * MIB)
    made[0].silent = True
    one.leave()
    again = [LARGE[0], bytes(len(LARGE[1])), *LARGE[2:]]
    hosts.peers.renamed(three.makes(*again), name)
    hosts.steps.until(lambda: told)
    assert told == [None] and two.parts(name) == again


def test_what_was_made_again_counts_for_all_and_for_who_comes_back(hosts):
    one, two, three = hosts.worker(), hosts.worker(), hosts.worker()
    name, here = one.makes(*LARGE), one.makes(*LARGE)
    assert two.fetches(name) and two.fetches(here)
    one.leave()
    again = [b"\x80", b"again" * 100_000]
    hosts.peers.renamed(three.makes(*again), name)
    made, _ = hosts.store.put(again)
    assert not hosts.peers.renamed(made, here), "on this host its file takes the name"
    hosts.steps.until(lambda: two.parts(name) is None and two.parts(here) is None)
    assert two.fetches(name) and two.parts(name) == again
    three.leave()
    one.join()
    hosts.steps.until(lambda: one.parts(name) is None and one.parts(here) is None)
    assert hosts.brings(name) and hosts.parts(name) == again, "from who has a copy of it"


def test_a_copy_serves_where_the_maker_is_gone(hosts):
    one, two, three = hosts.worker(), hosts.worker(), hosts.worker()
    name = one.makes(*LARGE)
    assert two.fetches(name)
    one.leave()
    assert three.fetches(name) and three.parts(name) == LARGE
    assert hosts.brings(name) and hosts.parts(name) == LARGE


def test_a_scheduler_that_was_started_again_waits_for_workers_to_come_back(steps, tmp_path):
    hosts = Hosts(steps, tmp_path, returning_s=3.0)
    told = []
    hosts.peers.bring(b"n" * 16, told.append)
    one = hosts.worker()
    name = one.makes(*LARGE)
    one.leave()
    hosts.peers.bring(name, told.append)
    one.join()
    steps.until(lambda: told)
    assert told == [None] and hosts.parts(name) == LARGE
    steps.until(lambda: len(told) == 2)
    assert told == [None, Missed()], "that one nobody has"
    hosts.stop()


@pytest.mark.parametrize("role", ["worker", "client"])
def test_nobody_poses_as_another_worker(hosts, role):
    one = hosts.worker()
    name = one.makes(*LARGE)
    liar = Hearer()
    link = Link(liar, hosts.steps.turn, hosts.steps.reactor, Codec(ValuesMessage))
    end = ClientEnd(hosts.member(role))
    hosts.steps.result(ensureDeferred(connect_tls(hosts.steps.reactor, *hosts.address, link, end)))
    link.send(hello("values", one.process))
    hosts.steps.until(lambda: liar.heard)
    assert hosts.brings(name) and hosts.parts(name) == LARGE
    assert [type(each) for each in liar.heard] == [Welcome], "it wasn't asked"
    link.close()
    hosts.steps.until(lambda: liar.lost)


def test_what_somebody_denied_was_called_for_gives_it_nothing(hosts):
    one, two = hosts.worker(), hosts.worker()
    first, second, secret = two.makes(*LARGE), two.makes(*LARGE), one.makes(*LARGE)
    assert one.fetches(first)
    (line,) = one.suppliers._others.values()
    guest = next(iter(two.suppliers._guests.values()))
    told = []
    guest._settled = lambda line, coming, outcome: told.append(outcome)
    guest.ask(Coming(secret))
    hosts.steps.until(lambda: told)
    assert told == [Absent(secret)], "who is called only gives"
    one.fetching.heard(ShutOut([two.identity.serial]))
    hosts.steps.until(lambda: line not in one.suppliers._open)
    assert one.fetches(second), "through the scheduler, which would have turned the other out"


def test_small_values_are_brought_many_at_a_time_and_large_ones_alone(hosts):
    one = hosts.worker()
    small = [one.makes(b"\x80", b"s" * 100_000) for _ in range(80)]
    assert hosts.brings(small[0])
    hosts.steps.until(lambda: hosts.parts(small[64]) is not None)
    assert hosts.parts(small[65]) is None
    large = [one.makes(*LARGE) for _ in range(3)]
    assert hosts.brings(large[0]) and hosts.brings(small[79])
    assert [hosts.parts(each) is not None for each in large] == [True, False, False]


def test_what_is_freed_while_it_is_written_is_not_kept(hosts, monkeypatch):
    one, two = hosts.worker(), hosts.worker()
    first, second = one.makes(*LARGE), one.makes(*LARGE)
    copy, begun, go = ValueStore.copy, [], threading.Event()

    def slowly(store, name, *parts):
        begun.append(name)
        go.wait(60)
        copy(store, name, *parts)

    monkeypatch.setattr(ValueStore, "copy", slowly)
    told = []
    hosts.peers.bring(first, told.append)
    two.fetching.wanted(second, told.append)
    hosts.steps.until(lambda: len(begun) >= 2)
    hosts.peers.freed([first])
    two.fetching.heard(Freed([second]))
    hosts.steps.until(lambda: len(told) == 2)
    go.set()
    hosts.steps.until(lambda: not two.store._arriving and hosts.parts(first) is None and two.parts(second) is None)
    for _ in range(20):
        hosts.steps.reactor.iterate(0.01)
    assert hosts.parts(first) is None and two.parts(second) is None and told == [Missed(), Missed()]
