"""Tokens as text: written, read, mistyped."""

import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.core.tokens import digest_of
from twistcluster.errors import AccessDenied
from twistcluster.net.token import SECRET_BYTES, Token, new_token

TOKENS = st.builds(Token, st.binary(min_size=32, max_size=32), st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
ONE = Token(bytes(range(32)), bytes(range(100, 100 + SECRET_BYTES)))


@given(TOKENS)
def test_what_is_written_is_read(token):
    assert re.fullmatch(r"tc1_[0-9a-hjkmnp-tv-z]{88}", token.text)
    assert Token.parse(token.text) == token
    assert Token.parse(f"  {token.text.upper()}\n") == token
    assert Token.parse("tc1_" + token.text[4:].replace("0", "o").replace("1", "l")) == token
    assert token.digest == digest_of(token.secret)


@given(TOKENS, st.data())
def test_a_mistyped_one_is_noticed(token, data):
    place = data.draw(st.integers(4, len(token.text) - 1))
    other = data.draw(st.sampled_from("0123456789abcdefghjkmnpqrstvwxyzu!é").filter(lambda c: c != token.text[place]))
    with pytest.raises(AccessDenied, match="mistyped|isn't a token"):
        Token.parse(token.text[:place] + other + token.text[place + 1 :])
    swapped = token.text[:place] + token.text[place + 1 :] + token.text[place]
    if swapped != token.text:
        with pytest.raises(AccessDenied, match="mistyped"):
            Token.parse(swapped)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "isn't a token"),
        ("hello", "isn't a token"),
        ("TWISTCLUSTER_TOKEN=tc1_00", "isn't a token"),
        ("tc1_", "0 characters"),
        (ONE.text[:-1], "87 characters after the '_', not 88"),
        (ONE.text + "0", "89 characters"),
        (ONE.text[:40] + "\n" + ONE.text[40:], "isn't a token"),
        (ONE.text.replace("tc1_", "tc2_"), "version 2, and this twistcluster reads version 1: update it"),
        (ONE.text.replace("tc1_", "tc\N{ARABIC-INDIC DIGIT ONE}_"), "isn't a token"),
    ],
)
def test_what_isnt_one_gets_a_clear_error(text, words):
    with pytest.raises(AccessDenied, match=re.escape(words)):
        Token.parse(text)


@given(st.text() | st.text("tc1_0aouil").map("tc1_".__add__))
def test_any_text_is_a_token_or_our_error(text):
    with pytest.raises(AccessDenied) as raised:
        Token.parse(text)
    assert len(text) < 8 or text not in str(raised.value)


def test_no_error_and_no_repr_shows_the_secret():
    wrong = ONE.text[:-1] + ("0" if ONE.text[-1] != "0" else "1")
    for text in (wrong, ONE.text[:-2], ONE.text.replace("tc1_", "tc7_"), f"x{ONE.text}"):
        with pytest.raises(AccessDenied) as raised:
            Token.parse(text)
        assert ONE.text[60:70] not in str(raised.value) and raised.value.__cause__ is None
    for shown in (repr(ONE), str(ONE), f"{ONE}", repr([ONE])):
        assert ONE.secret.hex() not in shown and repr(ONE.secret)[2:-1] not in shown and ONE.text[60:] not in shown


def test_a_new_one_has_a_secret_of_its_own():
    fingerprint = bytes(32)
    made = {new_token(fingerprint, secrets.token_bytes).secret for _ in range(20)}
    assert len(made) == 20 and {len(secret) for secret in made} == {SECRET_BYTES}


@pytest.mark.parametrize(("fingerprint", "secret"), [(b"", bytes(SECRET_BYTES)), (bytes(32), b"short")])
def test_its_parts_have_their_lengths(fingerprint, secret):
    with pytest.raises(ValueError, match="32"):
        Token(fingerprint, secret)
