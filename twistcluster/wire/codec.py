"""Messages to frames and back, by the union of what may come in.

Owns: the encoding of messages (MessagePack by msgspec). Must not know: which link it serves.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer, Frame, encode_frame
from twistcluster.wire.messages import Message

__all__ = ["Codec"]

_ENCODER = msgspec.msgpack.Encoder()


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
