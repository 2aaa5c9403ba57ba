"""The scheduler's node with its real machine, on a fake clock and links in memory."""

import pytest
from twisted.internet.task import Clock

from twistcluster.core.scheduler import Identity, Scheduler
from twistcluster.net.memory import MemoryLink, memory_pair
from twistcluster.net.states import LinkState
from twistcluster.net.turn import Turn
from twistcluster.nodes.scheduler import SchedulerNode
from twistcluster.wire.messages import (
    PROTOCOL,
    Answer,
    Ask,
    Cancel,
    Declined,
    Deny,
    Goodbye,
    Hello,
    Invite,
    Page,
    Refused,
    Renew,
    Scale,
    Status,
    Stop,
    StopCluster,
    Stopping,
    Welcome,
)


class Peer:
    def __init__(self, house, role="client", python="3.11", owner="", protocol=PROTOCOL):
        self.heard = []
        self.lost = []
        self.house = house
        _, self.link = memory_pair(house.node, self, house.turn)
        self.say(Hello(protocol, role, python, "0", f"p{id(self)}", 1, "h", 1, role, slots=2, owner=owner))

    def say(self, message, buffers=()):
        self.house.turn.run(self.link.send, message, buffers)

    def on_message(self, link, message, buffers):
        self.heard.append(message)

    def on_lost(self, link, reason):
        self.lost.append(reason)


class House:
    def __init__(self, owner="", name="lab", idle_timeout_s=None):
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.ended = []
        self.worked = 0.0
        identity = Identity(
            epoch="e", cluster="c", python="3.11", version="0", pid=1, name="" if owner else name, owner=owner
        )
        self.machine = Scheduler(identity, now=0.0, idle_timeout_s=idle_timeout_s)
        self.node = SchedulerNode(
            self.clock, self.machine, self.turn, self.ended.append, self.clock.seconds, lambda: self.worked
        )

    def pass_time(self, seconds):
        """From deadline to deadline."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= end:
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())


@pytest.fixture
def house():
    return House()


@pytest.mark.parametrize("role", ["client", "worker"])
def test_who_has_no_certificate_has_none_renewed(house, role):
    peer = Peer(house, role)
    peer.say(Renew(b"key"))
    assert isinstance(peer.heard[-1], Refused) and "no certificate" in peer.heard[-1].message
    assert peer.lost


@pytest.mark.parametrize("question", [Invite(b"digest", "worker", 1, 60.0), Deny("af")])
def test_one_that_doesnt_listen_invites_nobody(house, question):
    client = Peer(house)
    client.say(Ask(5, question))
    declined = client.heard[-1]
    assert isinstance(declined, Declined) and declined.request == 5
    assert "One that does is started with listen='tls:0.0.0.0:8930'" in declined.message


def test_a_client_is_welcomed_and_answered(house):
    client = Peer(house)
    client.say(Ask(5, Status()))
    welcome, answer = client.heard
    assert isinstance(welcome, Welcome) and welcome.epoch == "e"
    assert isinstance(answer, Answer) and answer.request == 5 and answer.status.clients == ["client"]


@pytest.mark.parametrize(
    ("said", "code"),
    [({"protocol": PROTOCOL + 1}, "protocol"), ({"python": "3.9"}, "python")],
    ids=["protocol", "python"],
)
@pytest.mark.parametrize("role", ["client", "worker"])
def test_another_version_is_refused_with_what_to_do(house, role, said, code):
    other = Peer(house, role)
    peer = Peer(house, role, **said)
    (refused,) = peer.heard
    assert isinstance(refused, Refused) and refused.code == code
    assert peer.lost and peer.link.state is LinkState.CLOSED
    assert not other.lost


def test_what_the_protocol_forbids_costs_its_sender_the_link(house):
    other, peer = Peer(house), Peer(house)
    peer.say(Page(7, 0, 1, 0), (b"",))
    assert isinstance(peer.heard[-1], Refused) and peer.lost
    other.say(Ask(1, Status()))
    assert other.heard[-1].status.clients == ["client"]


def test_a_bug_in_handling_a_message_costs_nobody_else(house, monkeypatch):
    client = Peer(house)
    monkeypatch.setattr(house.machine, "received", lambda *_: 1 / 0)
    client.say(Cancel(1))
    monkeypatch.undo()
    client.say(Ask(1, Status()))
    assert isinstance(client.heard[-1], Answer)


def test_a_bug_in_a_tick_does_not_end_time(house, monkeypatch):
    monkeypatch.setattr(house.machine, "tick", lambda _: 1 / 0)
    house.pass_time(3)
    monkeypatch.undo()
    house.worked += 1
    house.pass_time(3)
    assert house.machine.now == pytest.approx(6, abs=1.1)


def test_the_owners_end_is_the_clusters_end():
    house = House(owner="secret")
    guest = Peer(house, owner="guessed")
    assert not house.node.owner_came
    owner = Peer(house, owner="secret")
    assert house.node.owner_came
    house.turn.run(owner.link.close, "killed")
    assert house.ended == ["its owner is gone"]
    assert isinstance(guest.heard[-1], Stopping) and guest.lost


def test_a_stop_is_answered_then_everybody_is_told(house):
    worker, client = Peer(house, "worker"), Peer(house)
    client.say(Ask(3, StopCluster()))
    assert [type(message) for message in client.heard[-2:]] == [Answer, Stopping]
    assert isinstance(worker.heard[-1], Stop)
    assert house.ended == ["stopped by client"] and worker.lost and client.lost
    gone = []
    house.node.all_gone().addCallback(gone.append)
    assert gone == [None]
    house.node.end("again")
    assert len(house.ended) == 1
    assert house.clock.getDelayedCalls() == []


def test_all_gone_waits_for_the_last(house):
    client = Peer(house)
    gone = []
    house.node.all_gone().addCallback(gone.append)
    assert gone == []
    client.say(Goodbye())
    house.turn.run(client.link.close)
    assert gone == [None]


def test_it_ends_when_it_was_idle_for_long_enough():
    house = House(idle_timeout_s=60)
    client = Peer(house)
    house.pass_time(100)
    assert not house.ended
    house.turn.run(client.link.close)
    house.pass_time(58)
    assert not house.ended
    house.pass_time(4)
    assert house.ended == ["idle for 60 s"]


def test_a_scale_reaches_the_local_worker(house):
    worker, client = Peer(house, "worker"), Peer(house)
    assert isinstance(worker.link, MemoryLink)
    client.say(Ask(1, Scale(5)))
    assert Scale(5) in worker.heard


def test_how_busy_it_is_is_measured(house):
    for _ in range(20):
        house.worked += 0.3
        house.pass_time(1.0)
    assert house.machine.busy_share == pytest.approx(0.3, abs=0.02)
    house.pass_time(20)
    assert house.machine.busy_share < 0.01
