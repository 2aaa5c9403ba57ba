"""Two ends over real TLS on loopback: who is let in, who isn't, and what each side is told."""

import contextlib
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as s
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.tls.certificates import Peer, make_key, peer_in, role_uri
from twistcluster.net.tls.ends import ClientEnd, JoiningEnd, ServerEnd
from twistcluster.net.tls.identity import Identity

YEAR_S = 365 * 24 * 3600.0


def nobody(serial: str) -> bool:
    return False


@pytest.fixture
def server(lab) -> ServerEnd:
    return ServerEnd(lab.member("scheduler", "lab"), nobody)


def refused(server, client, by_server: str, by_client: str) -> None:
    """Nothing was heard, and each side was told this."""
    assert (server.heard, client.heard) == (b"", b"")
    assert server.peer == client.peer == "not asked"
    assert server.end.peer_of(server.handle) is None
    if client.handle in client.end._faults:  # it was the client who refused
        assert client.end.peer_of(client.handle) is None
    for side, words in ((server, by_server), (client, by_client)):
        assert isinstance(side.lost, AccessDenied) and words in str(side.lost), str(side.lost)


# ---- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["client", "worker"])
def test_members_meet_and_know_each_other(lab, server, meet, role):
    member = lab.member(role, "box")
    one, two = meet(server).connect(ClientEnd(member))
    assert (one.heard, two.heard) == (b"hello", b"welcome")
    assert one.peer == Peer(role, "box", member.serial, "lab")
    assert two.peer.role == "scheduler" and two.peer.name == "lab"
    assert two.handle.get_protocol_version_name() == one.handle.get_protocol_version_name() == "TLSv1.3"


def test_who_has_a_token_only_gets_through_as_a_stranger(lab, server, meet):
    joining = JoiningEnd(lab.authority.fingerprint)
    one, two = meet(server).connect(joining)
    assert (one.heard, one.peer) == (b"hello", None)
    assert two.peer.role == "scheduler"
    assert joining.authority_of(two.handle) == server_authority(lab)


def server_authority(cluster) -> x509.Certificate:
    return x509.load_der_x509_certificate(cluster.authority.certificate)


def test_workers_meet(lab, meet):
    one, two = meet(ServerEnd(lab.member("worker", "a"), nobody)).connect(
        ClientEnd(lab.member("worker", "b"), "worker")
    )
    assert (one.peer.name, two.peer.name) == ("b", "a")


def test_nobody_is_known_before_the_handshake_is_done(lab, server):
    """A certificate is public: only the end of the handshake shows that the peer has its key."""
    here = server.serverConnectionForTLS(None)
    there = ClientEnd(lab.member("worker")).clientConnectionForTLS(None)
    here.set_accept_state()
    there.set_connect_state()
    pump(there, here)
    pump(here, there)
    shake(there)
    flight = there.bio_read(1 << 16)
    here.bio_write(flight[:-60])  # the certificate, but not all of what proves that the key is there
    shake(here)
    known = dict(server._known)
    assert server.peer_of(here) is None
    here.bio_write(flight[-60:])
    shake(here)
    assert server.peer_of(here).role == "worker"
    assert known or server._known


def shake(connection) -> None:
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()


def pump(source, target) -> None:
    shake(source)
    target.bio_write(source.bio_read(1 << 16))


# ---- who isn't --------------------------------------------------------------------------------------------------------


def test_another_clusters_certificate(lab, other, meet):
    """Both CAs have the same name. The client is no victim here: it doesn't check whom it talks to."""
    careless = Careless(other.member("worker"))
    one, two = meet(ServerEnd(lab.member("scheduler"), nobody)).connect(careless)
    refused(one, two, "this cluster's CA didn't issue", "it belongs to another cluster")


def test_another_clusters_scheduler(other, server, meet):
    one, two = meet(server).connect(ClientEnd(other.member("worker")))
    refused(one, two, "it is of another cluster", "this cluster's CA didn't issue")


def test_a_certificate_that_ended(lab, server, meet):
    one, two = meet(server).connect(ClientEnd(lab.member("worker", now=time.time() - YEAR_S - 5)))
    refused(one, two, "a certificate that ended on", "it has ended: join with a new token")


def test_a_certificate_that_begins_later(lab, server, meet):
    one, two = meet(server).connect(ClientEnd(lab.member("worker", now=time.time() + 2 * 3600)))
    refused(one, two, "compare the clocks", "compare the clocks")


def test_a_scheduler_whose_certificate_ended(lab, meet):
    end = ServerEnd(lab.member("scheduler", now=time.time() - YEAR_S - 5), nobody)
    one, two = meet(end).connect(ClientEnd(lab.member("worker")))
    refused(one, two, "our certificate has ended", "a scheduler is started again")


def test_a_denied_certificate(lab, meet):
    denied = set()
    member = lab.member("worker", "box")
    meeting = meet(ServerEnd(lab.member("scheduler"), denied.__contains__))
    assert meeting.connect(ClientEnd(member))[0].peer.name == "box"
    denied.add(member.serial)
    one, two = meeting.connect(ClientEnd(member))
    refused(one, two, f"of the worker 'box' with the serial {member.serial}, which was denied", "it was denied")
    assert meeting.connect(ClientEnd(lab.member("worker", "bin")))[0].peer.name == "bin"


def test_a_deny_list_that_fails_lets_nobody_in(lab, meet):
    def broken(serial):
        raise OSError("the disk is gone")

    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        one, two = meet(ServerEnd(lab.member("scheduler"), broken)).connect(ClientEnd(lab.member("worker")))
    finally:
        globalLogPublisher.removeObserver(events.append)
    refused(one, two, "could not be checked", "it was denied")
    assert any("the disk is gone" in str(event.get("log_failure")) for event in events)


@pytest.mark.parametrize("role", ["worker", "client"])
def test_nobody_else_poses_as_the_scheduler(lab, meet, role):
    meeting = meet(ServerEnd(lab.member(role, "thief"), nobody))
    one, two = meeting.connect(ClientEnd(lab.member("worker")))
    why = "the certificate of a worker ('thief'" if role == "worker" else "isn't meant for this end"
    refused(one, two, "it expected another role", why)
    one, two = meeting.connect(JoiningEnd(lab.authority.fingerprint))
    refused(one, two, "it expected another role", why)


def test_a_client_that_could_be_a_server_doesnt_pose_as_the_scheduler_either(lab, meet):
    """Only the role in the certificate stands between it and the scheduler."""
    end = ServerEnd(forged(lab, [role_uri("lab", "client")]), nobody)
    one, two = meet(end).connect(ClientEnd(lab.member("worker")))
    refused(one, two, "it expected another role", "the certificate of a client ('forged'")


def test_the_schedulers_certificate_is_no_members(lab, server, meet):
    one, two = meet(server).connect(ClientEnd(lab.member("scheduler")))
    refused(one, two, "isn't meant for this end", "it isn't a client's or a worker's")


URIS = {
    "none": [],
    "two": [role_uri("lab", "worker"), role_uri("lab", "client")],
    "the same twice": [role_uri("lab", "worker")] * 2,
    "two, one in capitals": [role_uri("lab", "worker"), "TWISTCLUSTER://lab/scheduler"],
    "capitals": ["TwistCluster://lab/worker"],
    "more behind": ["twistcluster://lab/worker/x"],
    "a longer role": ["twistcluster://lab/workers"],
    "a query": ["twistcluster://lab/worker?"],
    "no cluster": ["twistcluster:///worker"],
    "one slash": ["twistcluster:/lab/worker"],
    "a space": [" twistcluster://lab/worker"],
    "a longer cluster": ["twistcluster://lab2/worker"],
    "a shorter cluster": ["twistcluster://la/worker"],
    "another scheme": ["https://lab/worker"],
    "no slashes": ["twistcluster:lab/worker"],
}


def forged(cluster, uris) -> Identity:
    """A member of the CA with these URIs, as if the CA had been talked into it."""
    key = make_key()
    like = cluster.member("worker", "forged").certificate
    builder = x509.CertificateBuilder().subject_name(like.subject).issuer_name(like.issuer).public_key(key.public_key())
    builder = builder.serial_number(like.serial_number).not_valid_before(like.not_valid_before_utc)
    builder = builder.not_valid_after(like.not_valid_after_utc)
    for extension in like.extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        elif not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, False)
    made = object.__new__(Identity)
    made.key, made.authority = key, server_authority(cluster)
    made.certificate = builder.sign(cluster.authority._key, hashes.SHA256())
    made.peer = Peer("worker", "forged", "0", "lab")
    return made


class Careless(ClientEnd):
    """Takes anybody for the scheduler, so that only the server's checks count."""

    def _judge(self, *args):
        return True


@pytest.mark.parametrize("uris", URIS.values(), ids=URIS)
def test_a_role_is_exactly_as_we_write_it(lab, server, meet, uris):
    one, two = meet(server).connect(ClientEnd(forged(lab, uris)))
    refused(one, two, "the peer", "didn't take this program's certificate")


@pytest.mark.parametrize("uris", [uris for name, uris in URIS.items() if "er cluster" not in name])
def test_such_a_certificate_names_nobody(lab, uris):
    with pytest.raises(AccessDenied, match="names no role|roles in clusters, not one|a role that there isn't"):
        peer_in(forged(lab, uris).certificate)


# ---- who joins --------------------------------------------------------------------------------------------------------


def test_a_joiner_tells_nothing_to_another_cluster(lab, other, meet):
    one, two = meet(ServerEnd(other.member("scheduler"), nobody)).connect(JoiningEnd(lab.authority.fingerprint))
    refused(one, two, "a token of another one", "this cluster's CA didn't issue")


def test_a_joiner_checks_the_issuer_itself(lab, other):
    """Also if OpenSSL had let a certificate through."""
    end = JoiningEnd(lab.authority.fingerprint)
    connection = end.clientConnectionForTLS(None)
    end._roots[connection] = server_authority(lab)
    assert end._accepted(connection, lab.member("scheduler").certificate).role == "scheduler"
    with pytest.raises(AccessDenied, match="that the token's CA didn't issue"):
        end._accepted(connection, other.member("scheduler").certificate)


class Posing(ServerEnd):
    """Shows a chain that it put together."""

    def __init__(self, leaf, root):
        leaf.authority = root
        super().__init__(leaf, nobody)


def signed_by(key, name, issuer, ca=False) -> Identity:
    """Somebody's own certificate that says it was issued by `issuer`."""
    own = make_key()
    uri = x509.UniformResourceIdentifier(role_uri("lab", "scheduler"))
    like = issuer.not_valid_before_utc, issuer.not_valid_after_utc
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer.subject).public_key(own.public_key())
    builder = builder.serial_number(7).not_valid_before(like[0]).not_valid_after(like[1])
    builder = builder.add_extension(x509.BasicConstraints(ca, None), True)
    builder = builder.add_extension(x509.SubjectAlternativeName([uri]), False)
    made = object.__new__(Identity)
    made.key, made.certificate, made.authority = own, builder.sign(key or own, hashes.SHA256()), issuer
    made.peer = Peer("scheduler", "lab", "7", "lab")
    return made


def test_the_true_root_beside_a_false_certificate_convinces_no_joiner(lab, other, meet):
    """The CA's certificate is public: anybody can send it."""
    root = server_authority(lab)
    issuer = make_key()
    for leaf in (
        signed_by(issuer, x509.Name([]), root),  # says it was issued by the CA; somebody else signed it
        signed_by(None, root.subject, root),  # the CA's own name, signed by itself
        other.member("scheduler"),
    ):
        one, two = meet(Posing(leaf, root)).connect(JoiningEnd(lab.authority.fingerprint))
        assert one.heard == two.heard == b""
        assert isinstance(two.lost, AccessDenied), two.lost


def test_a_members_certificate_is_no_ca(lab, meet):
    """A worker signs a scheduler's certificate with its own key, and sends the whole chain."""
    worker = lab.member("worker")
    leaf = signed_by(worker.key, x509.Name([]), worker.certificate)
    end = Posing(leaf, worker.certificate)
    end._current = chain_of(end, leaf, [worker.certificate, server_authority(lab)])
    for client in (JoiningEnd(lab.authority.fingerprint), ClientEnd(lab.member("client"))):
        one, two = meet(end).connect(client)
        assert one.heard == two.heard == b""
        assert isinstance(two.lost, AccessDenied), two.lost


def chain_of(end, leaf, more):
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)
    for each in more:
        context.add_extra_chain_cert(each)
    return context


# ---- renewed, resumed, older ------------------------------------------------------------------------------------------


def test_renewed_certificates_are_shown_from_the_next_connection_on(lab, server, meet):
    meeting = meet(server)
    member = ClientEnd(lab.member("worker", "before"))
    one, two = meeting.connect(member)
    newer = lab.member("worker", "after")
    server.renew(lab.member("scheduler", "renewed"))
    member.renew(newer)
    three, four = meeting.connect(member)
    assert (three.peer.serial, four.peer.name) == (newer.serial, "renewed")
    two.heard = b""
    two.transport.write(b"still there?")
    meeting.steps.until(lambda: two.heard)
    assert one.heard == b"hellostill there?" and one.peer.name == "before" and two.peer.name == "lab"
    assert one.lost is two.lost is None


def test_a_session_isnt_resumed(lab, meet):
    """Each connection shows its certificate anew, also to a peer that offers its session again."""
    asked = []
    meeting = meet(ServerEnd(lab.member("scheduler"), lambda serial: asked.append(serial) or False))
    member = ClientEnd(lab.member("worker"))
    member._current.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    _, first = meeting.connect(member)
    session = first.handle.get_session()
    create = member.clientConnectionForTLS

    def again(protocol):
        connection = create(protocol)
        connection.set_session(session)
        return connection

    member.clientConnectionForTLS = again
    one, _ = meeting.connect(member)
    assert len(asked) == 2 and one.peer.role == "worker"


@pytest.mark.parametrize("listens", [True, False], ids=["a server", "a client"])
def test_older_tls_isnt_spoken(lab, server, meet, listens):
    old = SSL.Context(SSL.TLS_METHOD)
    old.set_max_proto_version(SSL.TLS1_2_VERSION)
    member = ClientEnd(lab.member("worker"))
    if listens:
        identity = lab.member("scheduler")
        old.use_certificate(identity.certificate)
        old.use_privatekey(identity.key)
        server._current = old
    else:
        member._current = old
    one, two = meet(server).connect(member)
    mine = two if listens else one
    assert one.heard == two.heard == b""
    assert isinstance(mine.lost, ClusterUnreachable) and "doesn't speak TLS 1.3" in str(mine.lost)


class Web(Protocol):
    def connectionMade(self):
        self.transport.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")


def test_what_listens_there_isnt_tls(lab, server, meet, steps):
    factory = Factory.forProtocol(Web)
    factory.noisy = False
    meeting = meet(server)
    meeting.port.stopListening()
    meeting.port = steps.reactor.listenTCP(0, factory, interface="127.0.0.1")
    sides = []
    endpoint = TCP4ClientEndpoint(steps.reactor, "127.0.0.1", meeting.port.getHost().port)
    steps.result(endpoint.connect(meeting._factory(ClientEnd(lab.member("worker")), True, sides)))
    steps.until(lambda: sides[0].lost)
    assert isinstance(sides[0].lost, ClusterUnreachable)
    assert "doesn't speak TLS 1.3: check the address" in str(sides[0].lost)


def test_a_connection_that_just_ends(lab, server, meet):
    meeting = meet(server)
    one, two = meeting.connect(ClientEnd(lab.member("worker")))
    one.transport.transport.abortConnection()
    meeting.steps.until(lambda: two.lost)
    assert isinstance(two.lost, ClusterUnreachable) and "lost" in str(two.lost)


# ---- secrets ----------------------------------------------------------------------------------------------------------


def test_no_key_is_shown(lab, server):
    member = lab.member("worker")
    numbers = member.key.private_numbers()
    der = member.key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption())
    shown = "".join(map(repr, (member, lab.authority, server, member.key, ClientEnd(member), vars(member))))
    assert str(numbers.private_value) not in shown and f"{numbers.private_value:x}" not in shown
    assert der.hex() not in shown and "PRIVATE" not in shown
