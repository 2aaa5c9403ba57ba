"""What of who may come outlives a scheduler: tokens, denials, the CA; over real TLS on loopback."""

import os
import pathlib
import secrets

import pytest

from tests.nodes.house import ANSWERS, refused, told_why
from twistcluster.core.tokens import digest_of, id_of
from twistcluster.errors import JournalLost
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import JoiningEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.wire.messages import (
    PROTOCOL,
    Answer,
    Ask,
    Declined,
    Deny,
    Invite,
    Join,
    Joined,
    Renew,
    Renewed,
)

DAY_S = 24 * 3600.0


# ---- the journal ------------------------------------------------------------------------------------------------------


def test_tokens_and_denials_outlive_a_scheduler(make_house):
    house = make_house()
    used, key, fresh = house.invite(), make_key(), house.invite("client", uses=2)
    first = house.join(used, key)
    old = house.identity("worker")
    link, owner = house.member("worker", identity=old)
    renewed = make_key()
    house.say(link, Renew(public_bytes(renewed)))
    house.steps.until(lambda: owner.said(Renewed))
    new = Identity.made(renewed, owner.said(Renewed)[0].certificate, house.authority.certificate)
    house.ask(Deny(old.serial))
    lost = house.invite()
    house.ask(Deny(id_of(digest_of(lost), "worker")))
    house.stop()
    again = make_house(port=house.port)
    assert again.port == house.port and again.admission.fingerprint == house.admission.fingerprint
    assert again.admission.serial != house.admission.serial
    assert again.join(used, key) == first
    assert "with another key" in again.join(used).message
    assert isinstance(again.join(fresh), Joined) and isinstance(again.join(fresh), Joined)
    assert "all were made" in again.join(fresh).message
    assert "was taken back" in again.join(lost).message
    told_why(again, old)
    told_why(again, new)


def test_what_ended_long_ago_leaves_the_journal(make_house):
    house = make_house()
    house.invite()
    house.ask(Deny("af"))
    link, owner = house.member("worker")
    house.say(link, Renew(public_bytes(make_key())))
    house.steps.until(lambda: owner.said(Renewed))

    def counts():
        house.stop()
        again = make_house()
        kept = again.journal.load()
        return again, [len(list(rows)) for rows in (kept.tokens(), kept.denials(), kept.renewals())]

    house, held = counts()
    assert held == [1, 1, 1]
    house.now += 400 * DAY_S
    house.admission._look()
    assert counts()[1] == [0, 0, 0]


def test_a_use_that_cant_be_recorded_gives_no_certificate(make_house, log, monkeypatch):
    house = make_house()
    secret, key = house.invite(), make_key()

    def fail(changes, done=None):
        house.steps.reactor.callLater(0, done, JournalLost("the disk is gone"))

    with monkeypatch.context() as broken:
        broken.setattr(house.journal, "record", fail)
        refused(house, log, house.join(secret, key), "can't write down now that you join: try again", secret)
        denied = house.ask(Deny("af"))
        assert isinstance(denied, Declined) and "could not be recorded: the disk is gone" in denied.message
    assert isinstance(house.join(secret, key), Joined)


def test_answers_come_after_the_commit(make_house, monkeypatch):
    house = make_house()
    record, waiting = house.journal.record, []
    monkeypatch.setattr(house.journal, "record", lambda changes, done=None: waiting.append((changes, done)))
    secret = secrets.token_bytes(18)
    link, owner = house.inviter
    house.say(link, Ask(1, Invite(digest_of(secret), "worker", 1, 60.0)))
    house.steps.until(lambda: waiting)
    joiner, heard = house.connect(JoiningEnd(house.authority.fingerprint), ANSWERS)
    house.say(joiner, Join(PROTOCOL, secret.hex(), public_bytes(make_key())))
    house.steps.until(lambda: len(waiting) == 2)
    assert not owner.said(Answer) and not heard.messages
    for changes, done in waiting:
        record(changes, done)
    house.steps.until(lambda: owner.said(Answer) and len(waiting) == 3)
    assert not heard.messages  # which certificate it gets is recorded, too, before it has it
    record(*waiting[2])
    house.steps.until(lambda: heard.messages)
    assert isinstance(heard.messages[0], Joined)


def test_one_key_has_one_certificate_however_often_it_asks(make_house, monkeypatch):
    """The same token and key on two links, before the first use is recorded."""
    house = make_house()
    secret, key = house.invite(), public_bytes(make_key())
    record, waiting = house.journal.record, []
    with monkeypatch.context() as held:
        held.setattr(house.journal, "record", lambda changes, done=None: waiting.append((changes, done)))
        asking = [house.connect(JoiningEnd(house.authority.fingerprint), ANSWERS) for _ in range(2)]
        for link, _ in asking:
            house.say(link, Join(PROTOCOL, secret.hex(), key))
        house.steps.until(lambda: len(waiting) == 2)
    for changes, done in waiting:
        record(changes, done)
    house.steps.until(lambda: all(owner.messages for _, owner in asking))
    first, second = (owner.messages[0] for _, owner in asking)
    assert isinstance(first, Joined) and first == second


# ---- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_the_cas_files_are_private_whatever_the_umask(steps, tmp_path, mask):
    from twistcluster.nodes.listening import open_admission

    before = os.umask(mask)
    try:
        place = tmp_path / "state" / "lab" / "journal.db"
        made = open_admission(steps.reactor, "tls:127.0.0.1:0", "lab", str(place), None)
    finally:
        os.umask(before)
    assert made is not None
    found = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert found == {
        "state": 0o700,
        "state/lab": 0o700,
        "state/lab/authority": 0o700,
        "state/lab/authority/authority.pem": 0o600,
    }


def test_without_listen_nobody_is_invited(steps, tmp_path):
    from twistcluster.nodes.listening import open_admission

    assert open_admission(steps.reactor, "", "lab", str(tmp_path / "journal.db"), None) is None
    assert list(pathlib.Path(tmp_path).iterdir()) == []
