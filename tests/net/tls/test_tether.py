"""A member's link over a network: silence, heartbeats, renewal, on a fake clock."""

import types

import pytest
from twisted.internet.task import Clock

from twistcluster.net.addresses import Address
from twistcluster.net.states import LinkState
from twistcluster.net.tls import tether as tether_module
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.membership import Membership
from twistcluster.net.tls.tether import ASK_AGAIN_S, Tether
from twistcluster.net.turn import Turn
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import Heartbeat, Kept, Renew, Renewed, SchedulerToClient

BOX = Address("box", 8930)
DAY_S = 24 * 3600.0


class Link:
    """What a tether does with its link."""

    def __init__(self):
        self.state = LinkState.OPEN
        self.sent = []
        self.aborted = ""
        self.transport = types.SimpleNamespace(heard=False)

    def send(self, message):
        self.sent.append(message)

    def abort(self, reason):
        self.aborted = self.aborted or reason


class Bench:
    def __init__(self, lab, monkeypatch, make_owner, *, beats=True, age_s=0.0):
        self.clock = Clock()
        self.wall = 1e9
        self.lab = lab
        self.identity = lab.member("client", now=self.wall - age_s)
        self.member = Membership(BOX, "client", clock=lambda: self.wall)
        self.member.save(self.identity)
        self.owner = make_owner()

        async def connected(*_):
            pass

        monkeypatch.setattr(tether_module, "connect_tls", connected)
        self.tether = Tether(
            self.clock,
            Turn(self.clock),
            self.owner,
            Codec(SchedulerToClient),
            self.member,
            beats=beats,
            clock=lambda: self.wall,
        )
        self.link = self.tether.link = Link()
        with pytest.raises(StopIteration):
            self.tether.connect().send(None)

    def wait(self, seconds, *, heard=False):
        for _ in range(round(seconds * 10)):
            self.link.transport.heard |= heard
            self.clock.advance(0.1)
            self.wall += 0.1

    def hear(self, message):
        self.tether.on_message(self.link, message, [])


@pytest.fixture
def bench(lab, monkeypatch, make_owner):
    return lambda **how: Bench(lab, monkeypatch, make_owner, **how)


def test_half_a_minute_of_silence_is_a_loss(bench):
    tied = bench()
    tied.wait(29.0)
    assert not tied.link.aborted
    tied.wait(2.0)
    assert "nothing was heard from box:8930 for 30 s" in tied.link.aborted


def test_whatever_is_heard_breaks_the_silence(bench):
    tied = bench()
    for _ in range(10):
        tied.wait(25.0)
        tied.wait(1.1, heard=True)
    assert not tied.link.aborted


def test_time_in_which_this_process_slept_is_nobodys_silence(bench):
    tied = bench()
    tied.clock.advance(500.0)
    tied.wait(10.0)
    assert not tied.link.aborted


def test_it_beats_while_nothing_is_heard(bench):
    tied = bench()
    tied.wait(20.0, heard=True)
    assert not tied.link.sent
    tied.wait(3.5)
    assert tied.link.sent == [Heartbeat()] * 3
    tied.hear(Heartbeat())
    assert not tied.owner.messages


def test_a_worker_beats_itself_and_hears_the_answers(bench):
    tied = bench(beats=False)
    tied.wait(10.0)
    assert not tied.link.sent
    tied.hear(Heartbeat())
    assert tied.owner.messages == [Heartbeat()]


def test_all_else_is_its_owners(bench):
    tied = bench()
    tied.hear(Kept(1, 1, over=False))
    tied.tether.on_paused(tied.link)
    tied.tether.on_resumed(tied.link)
    tied.tether.on_lost(tied.link, "it is gone")
    assert tied.owner.messages == [Kept(1, 1, over=False)] and tied.owner.pauses == ["paused", "resumed"]
    assert tied.owner.lost == [(tied.link, "it is gone")]
    assert not tied.clock.getDelayedCalls()


def test_a_certificate_that_is_young_stays(bench):
    tied = bench(age_s=240 * DAY_S)
    tied.wait(5.0, heard=True)
    assert not tied.link.sent


def test_at_two_thirds_of_its_life_it_is_renewed_and_kept(bench):
    tied = bench(age_s=250 * DAY_S)
    tied.wait(5.0, heard=True)
    assert tied.link.sent == [Renew(tied.identity.request)]
    renewed = tied.lab.authority.issue(tied.identity.request, "client", "box", tied.wall)
    tied.hear(Renewed(renewed))
    kept = tied.member.identity()
    assert kept.serial != tied.identity.serial and kept.ends_at > tied.identity.ends_at
    assert kept.request == tied.identity.request
    tied.wait(5.0, heard=True)
    assert len(tied.link.sent) == 1


def test_an_answer_that_doesnt_come_is_asked_for_again_after_an_hour(bench):
    tied = bench(age_s=300 * DAY_S)
    for _ in range(round(ASK_AGAIN_S) + 5):
        tied.link.transport.heard = True
        tied.clock.advance(1.0)
    assert tied.link.sent == [Renew(tied.identity.request)] * 2


def test_what_is_no_renewal_is_not_kept(bench, other):
    tied = bench(age_s=300 * DAY_S)
    issue = tied.lab.authority.issue
    for certificate in (
        b"none",
        issue(tied.identity.request, "worker", "box", tied.wall),
        issue(tied.identity.request, "client", "another", tied.wall),
        issue(public_bytes(make_key()), "client", "box", tied.wall),
        other.authority.issue(tied.identity.request, "client", "box", tied.wall),
    ):
        tied.hear(Renewed(certificate))
        assert tied.member.identity().serial == tied.identity.serial
