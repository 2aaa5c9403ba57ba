"""Messages survive the way; anything else is a ProtocolError."""

import contextlib
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.errors import ProtocolError
from twistcluster.wire import messages
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import FrameDecoder

UNIONS = [
    messages.Hello,
    messages.ClientToScheduler,
    messages.SchedulerToClient,
    messages.SchedulerToWorker,
    messages.WorkerToScheduler,
    messages.WorkerToSlot,
    messages.SlotToWorker,
]
BY_TYPE = {
    int: st.integers(0, 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
}


def of_type(kind):
    """Values of an annotation of a message's field."""
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    if isinstance(kind, type) and issubclass(kind, messages.Message):
        return of_message(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is type(None):
        return st.none()
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is list:
        return st.lists(of_type(args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(of_type(args[0]), of_type(args[1]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(of_type, args))
    return st.one_of(*map(of_type, args))


def of_message(cls):
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{name: of_type(hints[name]) for name in cls.__struct_fields__})


def members(union):
    return typing.get_args(union) or (union,)


@pytest.mark.parametrize("union", UNIONS, ids=str)
def test_messages_survive_the_way(union):
    codec = Codec(union)

    @given(st.one_of(*map(of_message, members(union))), st.lists(st.binary(max_size=5), max_size=2))
    def survives(message, buffers):
        (frame,) = FrameDecoder().feed(b"".join(codec.encode(message, buffers)))
        assert codec.decode(frame) == (message, buffers)

    survives()


@pytest.mark.parametrize("union", UNIONS, ids=str)
def test_any_bytes_are_a_message_or_a_protocol_error(union):
    codec = Codec(union)

    @given(st.binary(max_size=100))
    def decodes_or_raises(head):
        with contextlib.suppress(ProtocolError):
            codec.decode((head, []))

    decodes_or_raises()


@given(of_message(messages.ClusterStatus), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4))
def test_mutated_messages_are_a_message_or_a_protocol_error(message, changes):
    head = bytearray(msgspec.msgpack.encode(messages.Answer(1, message)))
    for at, byte in changes:
        head[at % len(head)] = byte
    with contextlib.suppress(ProtocolError):
        Codec(messages.SchedulerToClient).decode((bytes(head), []))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x91" * 100_000,  # nested arrays
        b"\x92\xa5Hello" + b"\x81\x00" * 100_000,  # nested maps
        b"\xdd\xff\xff\xff\xff",  # an array of 2**32 - 1
        b"\x92\xa6Forget\xdd\xff\xff\xff\xff",
        b"\x92\xa5Hello\xdb\xff\xff\xff\xff",
        msgspec.msgpack.encode(["Scale", "three"]),
        msgspec.msgpack.encode(["NoSuchMessage"]),
        msgspec.msgpack.encode(["Welcome"]),
        b"\x92\xa5Scale\xa1\xff",  # not UTF-8
    ],
)
@pytest.mark.parametrize("union", UNIONS, ids=str)
def test_bad_messages_are_protocol_errors(head, union):
    with pytest.raises(ProtocolError):
        Codec(union).decode((head, []))


def test_a_message_of_another_direction_is_refused():
    (frame,) = FrameDecoder().feed(b"".join(Codec.encode(messages.Stop())))
    with pytest.raises(ProtocolError):
        Codec(messages.ClientToScheduler).decode(frame)
