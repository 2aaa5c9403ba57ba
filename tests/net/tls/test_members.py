"""The CA and its members: what certificates say, how they are kept, and what isn't taken."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.errors import AccessDenied
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import (
    canonical_public_key,
    fingerprint_of,
    make_key,
    peer_in,
    public_bytes,
    read_certificate,
)
from twistcluster.net.tls.identity import Identity

NOW = 1_800_000_000.0
DAY_S = 24 * 3600.0


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


# ---- the CA -----------------------------------------------------------------------------------------------------------


def test_what_the_cas_certificate_says(tmp_path):
    authority = Authority.open(tmp_path / "ca", "lab", NOW)
    certificate = read_certificate(authority.certificate)
    basic, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    assert basic.critical and basic.value.ca and basic.value.path_length == 0
    assert usage.critical and usage.value.key_cert_sign and not usage.value.digital_signature
    years = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days / 365.25
    assert 9.9 < years < 10.1
    assert authority.fingerprint == fingerprint_of(certificate) and len(authority.fingerprint) == 32
    certificate.verify_directly_issued_by(certificate)


def test_it_is_made_once(tmp_path):
    made = Authority.open(tmp_path / "ca", "lab", NOW)
    again = Authority.open(tmp_path / "ca", "lab", NOW + DAY_S)
    assert again.certificate == made.certificate
    key = make_key()
    issued = read_certificate(again.issue(public_bytes(key), "worker", "box", NOW))
    issued.verify_directly_issued_by(read_certificate(made.certificate))


def test_processes_that_start_at_once_get_one_ca(tmp_path):
    code = (
        "import pathlib, sys; from twistcluster.net.tls.authority import Authority; sys.stdin.read()\n"
        f"print(Authority.open(pathlib.Path({str(tmp_path / 'ca')!r}), 'lab', {NOW}).fingerprint.hex())"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(4)]
    for process in started:
        process.stdin.close()
    said = {process.stdout.read() for process in started}
    assert [process.wait() for process in started] == [0] * 4
    for process in started:
        process.stdout.close()
    assert len(said) == 1 and os.listdir(tmp_path / "ca") == ["authority.pem"]


def test_who_comes_second_takes_the_first_ones(tmp_path, monkeypatch):
    """Between its look and its write another process made one."""
    import twistcluster.net.tls.authority as module

    first = []
    read = module.read_private

    def late(path, advice):
        data = read(path, advice)
        if not first:
            first.append(None)
            first.append(Authority.open(tmp_path / "ca", "lab", NOW))
        return data

    monkeypatch.setattr(module, "read_private", late)
    second = Authority.open(tmp_path / "ca", "lab", NOW)
    assert second.certificate == first[1].certificate


def test_what_isnt_this_clusters_ca(tmp_path):
    folder = tmp_path / "ca"
    path = folder / "authority.pem"
    Authority.open(folder, "lab", NOW)
    with pytest.raises(AccessDenied, match="the CA of the cluster 'lab', not of 'other': name another folder"):
        Authority.open(folder, "other", NOW)
    with pytest.raises(AccessDenied, match="ended: .*every machine must join again"):
        Authority.open(folder, "lab", NOW + 3654 * DAY_S)
    folder.chmod(0o755)
    with pytest.raises(AccessDenied, match="run `chmod 700"):
        Authority.open(folder, "lab", NOW)
    folder.chmod(0o700)
    path.chmod(0o644)
    with pytest.raises(AccessDenied, match="run `chmod 600"):
        Authority.open(folder, "lab", NOW)
    path.chmod(0o600)
    pem = path.read_bytes()
    for damaged in (b"", pem[:-40], pem[40:], pem.replace(b"-----BEGIN CERT", b"----"), b"\0" * 500, b"-----BEGIN"):
        path.write_bytes(damaged)
        with pytest.raises(AccessDenied, match="isn't the CA of a cluster, or it is damaged"):
            Authority.open(folder, "lab", NOW)
    with pytest.raises(ValueError, match="can't be named"):
        Authority.open(tmp_path / "x", "a/b", NOW)


# ---- what it issues ---------------------------------------------------------------------------------------------------

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.mark.parametrize(
    ("role", "uses"), [("scheduler", {SERVER}), ("client", {CLIENT}), ("worker", {SERVER, CLIENT})]
)
def test_what_a_members_certificate_says(tmp_path, role, uses):
    authority = Authority.open(tmp_path / "ca", "lab", NOW)
    key = make_key()
    certificate = read_certificate(
        authority.issue(public_bytes(key), role, "box", NOW, ["127.0.0.1", "::1", "a.example"])
    )
    assert certificate.public_key() == key.public_key()
    assert peer_in(certificate)[:2] == (role, "box") and peer_in(certificate).cluster == "lab"
    assert peer_in(certificate).serial == f"{certificate.serial_number:x}"
    assert set(extension(certificate, x509.ExtendedKeyUsage).value) == uses
    assert not extension(certificate, x509.BasicConstraints).value.ca
    names = extension(certificate, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"twistcluster://lab/{role}"]
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert certificate.not_valid_before_utc.timestamp() == NOW - 3600
    assert certificate.not_valid_after_utc.timestamp() == NOW + 365 * DAY_S


def test_a_certificate_ends_with_its_ca_and_each_has_its_own_serial(lab):
    key = public_bytes(make_key())
    late = read_certificate(lab.authority.issue(key, "worker", "box", lab.authority.ends_at - DAY_S))
    assert late.not_valid_after_utc.timestamp() == lab.authority.ends_at
    made = {read_certificate(lab.authority.issue(key, "worker", "box", NOW)).serial_number for _ in range(10)}
    assert len(made) == 10


def test_what_isnt_issued(lab):
    key = public_bytes(make_key())
    with pytest.raises(ValueError, match="there is no role 'root'"):
        lab.authority.issue(key, "root", "box", NOW)
    with pytest.raises(ValueError, match="can't be named"):
        lab.authority.issue(key, "worker", "x" * 64, NOW)


def other_keys():
    spki = s.PublicFormat.SubjectPublicKeyInfo
    for key in (
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
    ):
        yield key.public_key().public_bytes(s.Encoding.DER, spki)
    yield make_key().public_key().public_bytes(s.Encoding.PEM, spki)
    yield make_key().private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption())
    yield public_bytes(make_key()) + bytes(300)
    yield b""


def test_only_p256_keys_are_taken(lab):
    for data in other_keys():
        with pytest.raises(AccessDenied, match="is none: a P-256 key"):
            lab.authority.issue(data, "worker", "box", NOW)


def test_a_key_has_one_form():
    """Written with its point compressed it is the same key: it doesn't count as another one."""
    key = make_key()
    short = key.public_key().public_bytes(s.Encoding.X962, s.PublicFormat.CompressedPoint)
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    assert canonical_public_key(head + short) == canonical_public_key(public_bytes(key)) == public_bytes(key)


GOOD_KEY = public_bytes(make_key())


@given(st.binary(max_size=400) | st.tuples(st.integers(0, len(GOOD_KEY) - 1), st.integers(1, 255)))
def test_any_bytes_are_a_key_or_our_error(data):
    if isinstance(data, tuple):
        place, flip = data
        data = GOOD_KEY[:place] + bytes([GOOD_KEY[place] ^ flip]) + GOOD_KEY[place + 1 :]
    with contextlib.suppress(AccessDenied):
        assert len(canonical_public_key(data)) == len(GOOD_KEY)


@pytest.fixture(scope="module")
def good_certificate(tmp_path_factory) -> bytes:
    authority = Authority.open(tmp_path_factory.mktemp("ca"), "lab", NOW)
    return authority.issue(GOOD_KEY, "worker", "box", NOW)


@given(st.data())
def test_any_bytes_are_a_members_certificate_or_our_error(good_certificate, data):
    place = data.draw(st.integers(0, len(good_certificate) - 1))
    more = data.draw(st.binary(max_size=3))
    bad = good_certificate[:place] + more + good_certificate[place + len(more) :]
    for each in (bad, good_certificate[:place], more):
        try:
            peer = peer_in(read_certificate(each))
        except AccessDenied:
            continue
        assert peer.role in {"worker", "client", "scheduler"}


# ---- identities -------------------------------------------------------------------------------------------------------


def test_an_identity_is_saved_and_loaded(lab, tmp_path):
    made = lab.member("worker", "box")
    made.save(tmp_path / "id")
    found = Identity.load(tmp_path / "id", time.time())
    assert found.certificate == made.certificate and found.authority == made.authority
    assert found.key.private_numbers() == made.key.private_numbers()
    assert (found.role, found.cluster, found.serial) == ("worker", "lab", made.serial)
    assert found.fingerprint == lab.authority.fingerprint and found.request == public_bytes(made.key)
    lab.member("client", "newer").save(tmp_path / "id")
    assert Identity.load(tmp_path / "id", time.time()).role == "client"
    assert os.listdir(tmp_path / "id") == ["identity.pem"]


def test_when_it_is_renewed(lab):
    member = lab.member("worker", now=NOW)
    life = member.ends_at - member.starts_at
    assert not member.due_for_renewal(member.starts_at + 0.66 * life)
    assert member.due_for_renewal(member.starts_at + 0.67 * life)


def test_what_isnt_loaded(lab, tmp_path):
    folder = tmp_path / "id"
    with pytest.raises(AccessDenied, match="no certificate in .*: join with a token"):
        Identity.load(folder, NOW)
    made = lab.member("worker", now=NOW)
    made.save(folder)
    with pytest.raises(AccessDenied, match=r"ended on 2028-01-15: remove it and join again with a new token"):
        Identity.load(folder, NOW + 365 * DAY_S)
    path = folder / "identity.pem"
    pem = path.read_bytes()
    parts = pem.split(b"-----BEGIN")
    for damaged in (
        b"",
        pem[:300],
        pem[:-9],
        b"-----BEGIN".join(parts[:3]),
        b"-----BEGIN".join([*parts[:2], *parts[:1:-1]]),
    ):
        path.write_bytes(damaged)
        with pytest.raises(AccessDenied, match="isn't the certificate of a member of a cluster, or it is damaged"):
            Identity.load(folder, NOW)
    path.write_bytes(pem)
    path.chmod(0o640)
    with pytest.raises(AccessDenied, match="run `chmod 600"):
        Identity.load(folder, NOW)
    folder.chmod(0o750)
    with pytest.raises(AccessDenied, match="run `chmod 700"):
        made.save(folder)


def test_what_doesnt_belong_together(lab, other):
    key = make_key()
    issued = lab.authority.issue(public_bytes(key), "worker", "box", NOW)
    Identity.made(key, issued, lab.authority.certificate)
    for what in (
        (make_key(), issued, lab.authority.certificate),
        (key, issued, other.authority.certificate),
        (key, lab.authority.certificate, lab.authority.certificate),
        (key, b"nonsense", lab.authority.certificate),
        (key, issued, b""),
        (key, bytes(10_000), lab.authority.certificate),
    ):
        with pytest.raises(AccessDenied, match="don't belong together|is none|names no role"):
            Identity.made(*what)


def test_without_the_libraries_the_error_names_the_extra():
    code = "import sys; sys.modules['OpenSSL'] = None\nimport twistcluster.net.tls.ends"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "need OpenSSL, which isn't installed: pip install 'twistcluster[tls]'" in ran.stderr
