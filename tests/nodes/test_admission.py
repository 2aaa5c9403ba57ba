"""Who may come from other machines: a scheduler's node that listens, and members of it over real TLS on loopback."""

import re
import secrets
import time

import pytest

from tests.nodes.house import ANSWERS, refused, told_why
from twistcluster.core.tokens import digest_of, id_of
from twistcluster.errors import AccessDenied
from twistcluster.net.tls.authority import CERTIFICATE_S, Authority
from twistcluster.net.tls.certificates import make_key, peer_in, public_bytes, read_certificate
from twistcluster.net.tls.ends import ClientEnd, JoiningEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.wire import limits
from twistcluster.wire.messages import (
    PROTOCOL,
    Ask,
    Declined,
    Deny,
    Hello,
    Invite,
    Join,
    Joined,
    Refused,
    Renew,
    Renewed,
    Status,
    Welcome,
)

DAY_S = 24 * 3600.0


# ---- joining ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["worker", "client"])
def test_whoever_brings_a_token_becomes_a_member(house, role):
    key = make_key()
    answer = house.join(house.invite(role), key)
    identity = Identity.made(key, answer.certificate, answer.authority)
    assert identity.role == role and re.fullmatch(f"{role}-[0-9a-f]{{6}}", identity.peer.name)
    assert identity.fingerprint == house.admission.fingerprint
    _, owner = house.member(role, identity=identity)
    assert isinstance(owner.messages[0], Welcome)


def test_a_lost_answer_is_given_again_and_costs_no_use(house):
    secret, key = house.invite(uses=2), make_key()
    first = house.join(secret, key)
    house.now += 3600.0
    assert house.join(secret, key) == first
    house.now -= 3600.0
    names = [peer_in(read_certificate(each.certificate)).name for each in (first, house.join(secret))]
    assert names[0].endswith("-1") and names[1] == names[0][:-1] + "2"


def test_what_the_one_who_is_invited_needs(house):
    answer = house.ask(Invite(digest_of(b"s"), "worker", 3, 60.0))
    assert answer.invited.fingerprint == house.authority.fingerprint
    assert answer.invited.addresses == [f"127.0.0.1:{house.port}"]
    assert answer.invited.expires_at == pytest.approx(house.now + 60.0)
    assert isinstance(house.ask(Invite(digest_of(b"s"), "worker", 3, 60.0)), Declined)
    assert "1 to 1000 uses" in house.ask(Invite(digest_of(b"t"), "worker", 1001, 60.0)).message


def test_a_token_that_isnt_known(house, log):
    secret = secrets.token_bytes(18)
    refused(
        house,
        log,
        house.join(secret),
        "this token isn't known here: ask for a new one: `twistcluster invite lab`",
        secret,
    )


def test_a_token_that_has_expired(house, log):
    secret = house.invite(expires_s=60.0)
    house.now += 61.0
    refused(house, log, house.join(secret), "this token has expired: ask for a new one", secret)


def test_a_token_that_was_used_up(house, log):
    secret = house.invite(uses=2)
    assert isinstance(house.join(secret), Joined) and isinstance(house.join(secret), Joined)
    refused(house, log, house.join(secret), "good for 2 uses, and all were made", secret)


def test_a_token_that_is_replayed_with_another_key(house, log):
    secret = house.invite()
    assert isinstance(house.join(secret), Joined)
    refused(house, log, house.join(secret), "used already, with another key .`twistcluster deny`", secret)


def test_a_token_that_was_taken_back(house, log):
    secret, key = house.invite(uses=2), make_key()
    assert isinstance(house.join(secret, key), Joined)
    name = id_of(digest_of(secret), "worker")
    assert house.ask(Deny(name)).closed == 0
    for each in (key, make_key()):
        refused(house, log, house.join(secret, each), "this token was taken back: ask for a new one", secret)
    assert isinstance(house.join(house.invite()), Joined)  # others are as good as before
    declined = house.ask(Deny("worker-000000"))
    assert isinstance(declined, Declined) and "no token 'worker-000000' is held" in declined.message


def test_a_token_that_is_taken_back_while_its_use_is_written(house, monkeypatch):
    secret, record = house.invite(), house.admission._record

    def slow(changes, done):
        house.admission._tokens.take_back(id_of(digest_of(secret), "worker"))
        record(changes, done)

    monkeypatch.setattr(house.admission, "_record", slow)
    answer = house.join(secret)
    assert isinstance(answer, Refused) and "was taken back" in answer.message


def test_the_log_says_who_asked(house, log):
    secret = house.invite()
    identity = house.identity("client", "anns-laptop")
    there = house.member(identity=identity, name="somebody else")
    house.ask(Deny(id_of(digest_of(secret), "worker")), there)
    house.ask(Deny("af"), there)
    made, back, denied = (
        next(line for line in log if text in line)
        for text in ("a token was made", "a token was taken back", "a certificate was denied")
    )
    assert re.search(r"'by': 'inviter at 127.0.0.1:\d+, serial [0-9a-f]+'", made), made
    for line in (back, denied):
        assert re.search(rf"'by': 'anns-laptop at 127.0.0.1:\d+, serial {identity.serial}'", line), line
    assert secret.hex() not in str(log)


@pytest.mark.parametrize(
    ("secret", "key", "protocol", "code", "match"),
    [
        ("not hex", None, PROTOCOL, "access", "what came as a token's secret is none"),
        ("00", b"no key", PROTOCOL, "access", "what came as a public key is none"),
        (
            "00",
            None,
            PROTOCOL + 1,
            "protocol",
            f"speaks protocol {PROTOCOL}, and who wants to join speaks {PROTOCOL + 1}",
        ),
    ],
)
def test_a_join_that_makes_no_sense(house, log, secret, key, protocol, code, match):
    answer = house.join(secret, key, protocol=protocol)
    refused(house, log, answer, match)
    assert answer.code == code


def test_a_token_of_another_cluster_isnt_even_sent(house, tmp_path):
    other = Authority.open(tmp_path / "other", "lab", house.now)
    with pytest.raises(AccessDenied, match="this cluster's CA didn't issue"):
        house.join(b"secret", fingerprint=other.fingerprint)


def test_a_join_that_is_too_long(house, log):
    link, owner = house.connect(JoiningEnd(house.authority.fingerprint), ANSWERS)
    house.say(link, Join(PROTOCOL, "00", bytes(limits.OPENING_FRAME_BYTES)))
    house.steps.until(lambda: owner.lost)
    assert "malformed" in [each.code for each in owner.said(Refused)]
    assert any("malformed input" in line for line in log)


def test_a_join_that_comes_too_late(house, log, monkeypatch):
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.05)
    _, owner = house.connect(JoiningEnd(house.authority.fingerprint), ANSWERS)
    house.steps.until(lambda: owner.lost)
    assert [each.code for each in owner.said(Refused)] == ["limit"]
    assert owner.said(Refused)[0].message.startswith("Join came too late, or not at all: it is due within 0.05 s.")


def test_a_join_that_isnt_answered_in_time(house, monkeypatch):
    """A disk that hangs: the token's use may have been recorded, and the same key gets the answer later."""
    secret, key = house.invite(), make_key()
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.5)
    monkeypatch.setattr(house.admission, "_record", lambda changes, done: None)
    late = house.join(secret, key)
    assert late.code == "limit" and late.message.startswith("the cluster could not answer within 0.5 s: try again")
    monkeypatch.undo()
    assert isinstance(house.join(secret, key), Joined)


def test_a_member_that_says_nothing_is_told_that_it_was_hello(house, monkeypatch):
    monkeypatch.setattr(limits, "OPENING_SECONDS", 0.2)
    _, owner = house.connect(ClientEnd(house.identity()))
    house.steps.until(lambda: owner.lost)
    assert owner.said(Refused)[0].message == "no Hello within 0.2 s"


# ---- who comes with a certificate, and as what ------------------------------------------------------------------------


def test_without_a_certificate_nothing_but_join(house, log):
    link, owner = house.connect(JoiningEnd(house.authority.fingerprint))
    house.say(link, Hello(PROTOCOL, "client", "3", "0", "p", 1, "h", 1))
    house.steps.until(lambda: owner.lost)
    refused(house, log, owner.messages[0], "showed no certificate of this cluster; it can join")


def test_without_a_certificate_no_question(house, log):
    link, owner = house.connect(JoiningEnd(house.authority.fingerprint))
    house.say(link, Ask(1, Status()))
    house.steps.until(lambda: owner.lost)
    assert [each.code for each in owner.said(Refused)] == ["malformed"]
    assert any("malformed input" in line for line in log)


@pytest.mark.parametrize("role", ["worker", "client"])
def test_a_role_is_the_certificates(house, log, role):
    other = "client" if role == "worker" else "worker"
    _, owner = house.member(role, hello=other)
    refused(house, log, owner.messages[0], f"the peer's certificate is a {role}'s, and it came as a {other}")


@pytest.mark.parametrize("question", [Invite(digest_of(b"mine"), "client", 1, 60.0), Deny("af"), Status()])
def test_a_worker_asks_nothing(house, question):
    link, owner = house.member("worker")
    house.say(link, Ask(1, question))
    house.steps.until(lambda: owner.lost)
    assert [each.code for each in owner.said(Refused)] == ["malformed"]
    assert isinstance(house.join(b"mine"), Refused)


def test_another_clusters_certificate(house, log, tmp_path):
    other = Authority.open(tmp_path / "other", "lab", house.now)
    stranger = house.identity(authority=other)
    with pytest.raises(AccessDenied):
        house.connect(ClientEnd(stranger))
    alike = Authority.open(tmp_path / "alike", "lab", house.now)
    identity = house.identity(authority=alike)
    identity.authority = read_certificate(house.authority.certificate)  # it knows our CA, and isn't issued by it
    told_why(house, identity)
    house.steps.until(lambda: any("this cluster's CA didn't issue" in line for line in log))


def test_a_certificate_that_has_ended(house, log):
    told_why(house, house.identity(now=house.now - CERTIFICATE_S - DAY_S))
    house.steps.until(lambda: any("showed a certificate that ended on" in line for line in log))


def test_a_certificate_that_was_denied(house, log):
    identity = house.identity("worker", "old")
    _, owner = house.member("worker", identity=identity)
    assert house.ask(Deny(identity.serial)).closed == 1
    house.steps.until(lambda: owner.lost)
    assert "this program's certificate was denied" in owner.said(Refused)[0].message
    assert any(identity.serial in line and "denied" in line for line in log)
    told_why(house, identity)
    house.steps.until(lambda: any(f"with the serial {identity.serial}, which was denied" in line for line in log))
    assert isinstance(house.member("worker")[1].messages[0], Welcome)


def test_one_that_is_denied_between_its_handshake_and_its_hello(house):
    identity = house.identity()
    link, owner = house.connect(ClientEnd(identity))
    house.steps.until(lambda: any(each.peer and each.peer.serial == identity.serial for each in doors(house)))
    assert house.ask(Deny(identity.serial)).closed == 0
    house.say(link, Hello(PROTOCOL, "client", "3", "0", "p", 1, "h", 1))
    house.steps.until(lambda: owner.lost)
    assert "denied" in owner.said(Refused)[0].message


def doors(house):
    """The scheduler's ends of all connections."""
    return list(house.admission._port.factory.gate._inside)


def test_a_serial_that_is_none(house):
    declined = house.ask(Deny("Bob"))
    assert isinstance(declined, Declined) and "'Bob' is no serial" in declined.message


def test_serials_are_shown(house):
    identity = house.identity("worker", "far")
    house.member("worker", "far", identity=identity)
    status = house.ask(Status()).status
    assert [(each.name, each.serial) for each in status.workers] == [("far", identity.serial)]
    assert len(status.client_serials) == 1 and len(status.client_serials[0]) > 20


# ---- renewal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["worker", "client"])
def test_a_certificate_is_renewed_over_the_link(house, role):
    old = house.identity(role, "far")
    link, owner = house.member(role, identity=old)
    house.now += 250 * DAY_S
    key = make_key()
    house.say(link, Renew(public_bytes(key)))
    house.steps.until(lambda: owner.said(Renewed))
    new = Identity.made(key, owner.said(Renewed)[0].certificate, house.authority.certificate)
    assert (new.role, new.peer.name) == (role, "far") and new.serial != old.serial
    assert new.ends_at == pytest.approx(house.now + CERTIFICATE_S, abs=2.0)
    # Asked again with the same key, the answer is the same; with another, it is to wait.
    house.say(link, Renew(public_bytes(key)))
    house.steps.until(lambda: len(owner.said(Renewed)) == 2)
    assert owner.said(Renewed)[1] == owner.said(Renewed)[0]
    house.say(link, Renew(public_bytes(make_key())))
    house.steps.until(lambda: owner.lost)
    assert "less than 60 minutes ago" in owner.said(Refused)[0].message


@pytest.mark.parametrize("which", [0, 1])
def test_a_denial_holds_for_what_a_certificate_was_renewed_with(house, which):
    old = house.identity("worker", "far")
    link, owner = house.member("worker", identity=old)
    key = make_key()
    house.say(link, Renew(public_bytes(key)))
    house.steps.until(lambda: owner.said(Renewed))
    new = Identity.made(key, owner.said(Renewed)[0].certificate, house.authority.certificate)
    assert house.ask(Deny((old, new)[which].serial)).closed == 1
    house.steps.until(lambda: owner.lost)
    told_why(house, old)
    told_why(house, new)


def test_a_certificate_that_was_renewed_too_often(house, log, monkeypatch):
    import twistcluster.core.denials as module

    monkeypatch.setattr(module, "MOST_RENEWALS", 0)
    link, owner = house.member("worker")
    house.say(link, Renew(public_bytes(make_key())))
    house.steps.until(lambda: owner.lost)
    refused(house, log, owner.said(Refused)[0], "renewed 0 times in a year: join with a new token")


def test_what_came_for_a_renewal_is_no_key(house):
    link, owner = house.member("worker")
    house.say(link, Renew(b"no key"))
    house.steps.until(lambda: owner.lost)
    assert "what came as a public key is none" in owner.said(Refused)[0].message


def test_the_schedulers_own_certificate_is_made_anew_in_time(house):
    before = house.admission.serial
    house.admission._look()
    assert house.admission.serial == before
    house.now += 250 * DAY_S
    house.admission._look()
    assert house.admission.serial != before
    with pytest.raises(AccessDenied, match="showed a certificate that begins on"):  # to the real clock
        house.connect(ClientEnd(house.identity(now=time.time())))
