"""Tokens: who may join, how often, until when; against a model that only counts."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twistcluster.core.tokens import (
    FORGOTTEN_AFTER_S,
    MOST_TOKENS,
    MOST_USES,
    Grant,
    Refusal,
    Tokens,
    TokenState,
    digest_of,
    id_of,
    is_token_id,
)

SECRET = b"the secret of a token"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens("lab")


def add(tokens, uses=1, secret=SECRET, expires_at=600.0, name="box", role="worker"):
    return tokens.add(digest_of(secret), role, uses, expires_at, name)


# ---- one token --------------------------------------------------------------------------------------------------------


def test_a_token_lets_one_key_in(tokens):
    add(tokens, role="client")
    grant = tokens.redeem(SECRET, b"key", 1.0)
    assert (grant.role, grant.name, grant.certificate) == ("client", "box", b"")


def test_a_lost_answer_is_had_again_with_the_same_key(tokens):
    add(tokens, uses=2)
    tokens.redeem(SECRET, b"key", 1.0)
    tokens.redeem(SECRET, b"other", 1.0)
    assert tokens.answered(SECRET, b"key", b"certificate").used[0].certificate == b"certificate"
    for now in (2.0, 599.0, 601.0, 600.0 + FORGOTTEN_AFTER_S - 1):
        grant = tokens.redeem(SECRET, b"key", now)
        assert (grant.name, grant.certificate, len(grant.state.used)) == ("box-1", b"certificate", 2)
    assert tokens.redeem(SECRET, b"other", 1.0).name == "box-2"


def test_a_token_that_was_taken_back_lets_nobody_in(tokens):
    add(tokens, uses=2)
    tokens.redeem(SECRET, b"key", 1.0)
    tokens.answered(SECRET, b"key", b"certificate")
    (state,) = tokens.take_back(id_of(digest_of(SECRET), "worker"))
    assert state.taken_back
    kept = Tokens("lab", [msgspec.json.decode(msgspec.json.encode(state), type=TokenState)])
    for held in (tokens, kept):
        for key in (b"key", b"other"):
            refusal = held.redeem(SECRET, key, 1.0)
            assert refusal.reason == "taken back"
            assert refusal.text == "this token was taken back: ask for a new one: `twistcluster invite lab`"
    with pytest.raises(ValueError, match="no token 'client-.*' is held.*twistcluster invite. shows the id"):
        tokens.take_back(id_of(digest_of(SECRET), "client"))


def test_an_id_is_told_from_a_serial():
    name = id_of(digest_of(SECRET), "client")
    assert is_token_id(name) and name.startswith("client-")
    assert not any(map(is_token_id, ("af01", "client", "worker-af01", f"{name}-2", "boss-123456", f"{name}\n")))


def test_each_refusal_says_why_and_what_to_do(tokens):
    add(tokens)
    add(tokens, 2, b"two")
    for key in (b"a", b"b"):
        tokens.redeem(b"two", key, 1.0)
    tokens.redeem(SECRET, b"a", 1.0)
    add(tokens, 1, b"late")
    for secret, now, reason, words in (
        (b"guess", 1.0, "wrong", "isn't known here"),
        (SECRET, 1.0, "other key", "was used already, with another key"),
        (b"two", 1.0, "used up", "good for 2 uses"),
        (b"late", 600.0, "expired", "has expired"),
    ):
        refusal = tokens.redeem(secret, b"mine", now)
        assert isinstance(refusal, Refusal) and refusal.reason == reason and words in refusal.text
        assert refusal.text.endswith("ask for a new one: `twistcluster invite lab`")


def test_a_wrong_token_learns_nothing_of_the_others(tokens):
    nothing = tokens.redeem(b"guess", b"key", 1.0)
    add(tokens)
    tokens.redeem(SECRET, b"key", 1.0)
    for secret in (b"guess", b"", SECRET[:-1], SECRET + b"x", digest_of(SECRET)):
        assert tokens.redeem(secret, b"key", 1e9) == nothing
        assert tokens.redeem(secret, b"key", 1.0) == nothing


def test_ended_tokens_are_forgotten_some_time_later(tokens):
    state = add(tokens)
    assert tokens.forget(600.0) == () and len(tokens) == 1
    assert tokens.redeem(SECRET, b"key", 600.0 + FORGOTTEN_AFTER_S).reason == "wrong"
    assert tokens.forget(600.0 + FORGOTTEN_AFTER_S) == (state.digest,)
    assert len(tokens) == 0 and tokens.states == ()


def test_an_answer_to_nobody(tokens):
    assert tokens.answered(SECRET, b"key", b"certificate") is None
    add(tokens)
    assert tokens.answered(SECRET, b"key", b"certificate") is None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"uses": 0}, "1 to 1000 uses, not 0"),
        ({"uses": MOST_USES + 1}, "1 to 1000 uses"),
        ({"role": "scheduler"}, "nobody can join as 'scheduler'"),
        ({"role": ""}, "nobody can join as ''"),
        ({"expires_at": float("nan")}, "must end some time"),
        ({"expires_at": float("inf")}, "must end some time"),
        ({"name": ""}, "1 to 63 characters"),
        ({"name": "x" * 64}, "1 to 63 characters"),
        ({"name": "x" * 62, "uses": 2}, "with the number of the use"),
    ],
)
def test_tokens_that_cant_be(tokens, how, words):
    with pytest.raises(ValueError, match=words):
        add(tokens, **how)
    assert len(tokens) == 0


def test_a_token_is_added_once(tokens):
    add(tokens)
    with pytest.raises(ValueError, match="there already"):
        add(tokens, uses=5)


def test_there_is_a_limit(tokens):
    for number in range(MOST_TOKENS):
        add(tokens, secret=b"%d" % number)
    with pytest.raises(ValueError, match="more are not"):
        add(tokens)


def test_no_secret_is_kept_or_shown(tokens):
    state = add(tokens)
    grant = tokens.redeem(SECRET, b"key", 1.0)
    refusal = tokens.redeem(SECRET, b"other", 1.0)
    for what in (state, grant, refusal, tokens.states, msgspec.json.encode(grant.state)):
        assert "the secret" not in repr(what) and SECRET.hex() not in repr(what)


# ---- any of them, in any order ------------------------------------------------------------------------------------------

SECRETS = st.sampled_from([b"a", b"b", b"c", b"d"])
KEYS = st.sampled_from([b"1", b"2", b"3", b"4", b"5"])


class Joining(RuleBasedStateMachine):
    """Beside the tokens: which secrets there are, with what is left, and who redeemed them."""

    def __init__(self):
        super().__init__()
        self.tokens = Tokens("lab")
        self.journal: dict[bytes, TokenState] = {}
        self.now = 0.0
        self.held: dict[bytes, tuple[int, float]] = {}  # uses, end
        self.keys: dict[bytes, list[bytes]] = {}
        self.answers: dict[tuple[bytes, bytes], bytes] = {}
        self.taken_back: set[bytes] = set()

    def keep(self, state: TokenState) -> None:
        self.journal[state.digest] = state

    @rule(secret=SECRETS, uses=st.integers(1, 3), lasts=st.sampled_from([1.0, 60.0, 600.0]))
    def invite(self, secret, uses, lasts):
        if secret not in self.held:
            self.keep(self.tokens.add(digest_of(secret), "worker", uses, self.now + lasts, "box"))
            self.held[secret] = uses, self.now + lasts
            self.keys[secret] = []

    @rule(secret=SECRETS, key=KEYS)
    def redeem(self, secret, key):
        uses, end = self.held.get(secret, (0, 0.0))
        got = self.tokens.redeem(secret, key, self.now)
        if secret not in self.held or self.now >= end + FORGOTTEN_AFTER_S:
            expected = "wrong"
        elif secret in self.taken_back:
            expected = "taken back"
        elif key in self.keys[secret]:
            expected = "again"
        elif self.now >= end:
            expected = "expired"
        elif len(self.keys[secret]) < uses:
            expected = "new"
            self.keys[secret].append(key)
        else:
            expected = "other key" if uses == 1 else "used up"
        if isinstance(got, Refusal):
            assert got.reason == expected
            return
        assert expected in {"new", "again"}
        self.keep(got.state)
        number = self.keys[secret].index(key) + 1
        assert got.name == ("box" if uses == 1 else f"box-{number}")
        assert got.certificate == self.answers.get((secret, key), b"")

    @rule(secret=SECRETS)
    def take_back(self, secret):
        if secret in self.held:
            for state in self.tokens.take_back(id_of(digest_of(secret), "worker")):
                self.keep(state)
            self.taken_back.add(secret)

    @rule(secret=SECRETS, key=KEYS, certificate=st.binary(min_size=1, max_size=3))
    def answer(self, secret, key, certificate):
        state = self.tokens.answered(secret, key, certificate)
        assert (state is not None) == (key in self.keys.get(secret, ()))
        if state is not None:
            self.keep(state)
            self.answers[secret, key] = certificate

    @rule(seconds=st.sampled_from([0.5, 61.0, 599.0, FORGOTTEN_AFTER_S]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def forget(self):
        gone = self.tokens.forget(self.now)
        for secret in [each for each, (_, end) in self.held.items() if self.now >= end + FORGOTTEN_AFTER_S]:
            assert digest_of(secret) in gone
            del self.held[secret], self.keys[secret], self.journal[digest_of(secret)]
            self.taken_back.discard(secret)
            self.answers = {pair: answer for pair, answer in self.answers.items() if pair[0] != secret}
        assert len(self.tokens) == len(self.held)

    @rule()
    def the_scheduler_comes_back(self):
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode([*self.journal.values()]), type=list[TokenState])
        self.tokens = Tokens("lab", kept)

    @invariant()
    def no_token_is_used_too_often(self):
        for state in self.tokens.states:
            assert len(state.used) == len({use.key for use in state.used}) <= state.uses
        assert {state.digest: state for state in self.tokens.states} == self.journal


TestJoining = Joining.TestCase


@given(st.binary(max_size=64), st.binary(max_size=64), st.floats())
def test_anything_may_be_brought(secret, key, now):
    tokens = Tokens("lab")
    add(tokens)
    assert tokens.redeem(secret, key, now).reason == "wrong"
    assert isinstance(tokens.redeem(SECRET, key, now), Grant | Refusal)
    assert hashlib.sha256(SECRET).digest() != digest_of(SECRET)
