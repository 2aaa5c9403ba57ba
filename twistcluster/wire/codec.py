"""Messages to frames and back, by the union of what may come in.

Owns: the encoding of messages (MessagePack by msgspec). Must not know: which link it serves.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer, Frame, encode_frame
from twistcluster.wire.messages import (
    Cancel,
    Cancelled,
    CloseJob,
    Context,
    Failed,
    KeepJob,
    Message,
    OpenJob,
    Output,
    Page,
    Results,
    Retry,
)

__all__ = ["Codec", "decode_message", "encode_message"]

_ENCODER = msgspec.msgpack.Encoder()


Recorded = Context | OpenJob | Page | Results | Failed | Cancelled | Output | CloseJob | Cancel | Retry | KeepJob
"""What a journal holds."""
_RECORDED: msgspec.msgpack.Decoder[Recorded] = msgspec.msgpack.Decoder(Recorded)


def encode_message(message: Message) -> bytes:
    """A message's bytes, without a frame around them."""
    return _ENCODER.encode(message)


def decode_message(data: Buffer) -> Recorded:
    """One that `encode_message` gave for a journal.

    Raises:
        ProtocolError: It is none of these.
    """
    try:
        return _RECORDED.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise ProtocolError(f"not a message that a journal holds: {error}") from error


class Codec:
    """Encodes any message; decodes those of one direction.

    Example:
        >>> from twistcluster.wire.messages import Hello, Scale, SchedulerToWorker
        >>> Codec(SchedulerToWorker).decode((Codec(Hello).encode(Scale(3))[0][8:], []))
        (Scale(slots=3), [])
    """

    def __init__(self, incoming: Any) -> None:
        self._decode: Any = msgspec.msgpack.Decoder(incoming).decode

    @staticmethod
    def encode(message: Message, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
        """Return the pieces of the frame that carries `message`, to be written one after the other."""
        return encode_frame(_ENCODER.encode(message), buffers)

    def decode(self, frame: Frame) -> tuple[Message, list[Buffer]]:
        """Return the message of a frame, and its buffers; anything wrong with it is a `ProtocolError`."""
        head, buffers = frame
        try:
            return self._decode(head), buffers
        # Some releases of msgspec raise errors that are no ValueErrors; its strings may not be UTF-8.
        except (msgspec.MsgspecError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise ProtocolError(f"not a message that may come here: {error}") from error
