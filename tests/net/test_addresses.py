import pytest

from twistcluster.net.addresses import Address, looks_like_address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tls://box:8930", Address("box", 8930)),
        ("Box.Example.org:1", Address("box.example.org", 1)),
        ("10.0.0.1:65535", Address("10.0.0.1", 65535)),
        ("tls://[fe80::1%eth0]:8930", Address("fe80::1%eth0", 8930)),
        ("[::1]:8930", Address("::1", 8930)),
    ],
)
def test_what_an_address_is(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == parse_address(address.url) == address
    assert looks_like_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "box",
        "tls://box",
        "box:0",
        "box:65536",
        "box:x",
        ":8930",
        "::1:8930",
        "a b:1",
        "tls://a/b:1",
        "u@box:1",
        "box:1/",
        "",
    ],
)
def test_what_isnt_one(text):
    with pytest.raises(ValueError, match="tls://HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("text", ["lab", "0a1b2c3d", "./a:b.json", "/run/x:1/file.json", "lab.json"])
def test_names_ids_and_files_dont_look_like_one(text):
    assert not looks_like_address(text)
