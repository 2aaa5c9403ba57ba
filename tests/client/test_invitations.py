"""What can be denied, as people write it."""

import pytest

from twistcluster.client.invitations import what_to_deny
from twistcluster.net.token import Token

TOKEN = Token(bytes(32), b"eighteen bytes of.").text


def test_a_serial_or_the_id_of_a_token():
    assert what_to_deny(" 0x00:AF:3C ") == "af3c"
    assert what_to_deny(" Worker-3FA2B1\n") == "worker-3fa2b1"
    with pytest.raises(ValueError, match=r"'Bob' is no serial of a certificate.*\(Nor is it the id of a token"):
        what_to_deny("Bob")


@pytest.mark.parametrize("text", [TOKEN, TOKEN.upper(), f" {TOKEN}\n"])
def test_a_token_isnt_its_id_and_isnt_repeated(text):
    with pytest.raises(ValueError, match="that is a token itself") as caught:
        what_to_deny(text)
    assert TOKEN[4:] not in str(caught.value).lower()
