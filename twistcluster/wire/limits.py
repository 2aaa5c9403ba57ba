"""Every limit that a peer meets, by name: frames, messages, connections and queues.

Owns: numbers. Must not know: who applies them.
"""

from typing import Final

__all__ = [
    "ACCEPTS_PER_TURN",
    "ACCEPT_PAUSE_SECONDS",
    "ALLOCATED_BYTES",
    "ALLOCATED_LINK_BYTES",
    "BUFFERS_PER_FRAME",
    "CONNECTIONS",
    "FRAME_BYTES",
    "HANDLING_SECONDS",
    "HEAD_BYTES",
    "LOG_LINES_ALIKE",
    "LOG_SECONDS",
    "MAKER_BYTES",
    "MESSAGES_PER_READ",
    "MESSAGES_PER_TURN",
    "OPENING_FRAME_BYTES",
    "OPENING_SECONDS",
    "OUTPUT_ITEM_BYTES",
    "OUTPUT_JOB_BYTES",
    "PAGE_BYTES",
    "PAGE_ITEMS",
    "PAGE_STORED_BYTES",
    "PREALLOCATE_BYTES",
    "PULL_AHEAD_BYTES",
    "QUEUED_BYTES",
    "QUEUED_MESSAGES",
    "RESULTS_HELD_BYTES",
    "SERVERS",
    "SERVER_NAME_CHARACTERS",
    "SLOTS",
    "STORED_BYTES",
    "TOGETHER_ITEMS",
    "UNWELCOMED_CONNECTIONS",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

OPENING_FRAME_BYTES: Final = 64 * KIB
"""A frame before `Welcome`. A longer one is malformed: the link is told so and closed, before memory is taken for it."""
OPENING_SECONDS: Final = 5.0
"""How long a new connection may take to say `Hello`, or `Join`. Then it is told `Refused` and closed."""
FRAME_BYTES: Final = 16 * GIB
"""A frame after `Welcome`, header and buffers together. A longer one is malformed."""
HEAD_BYTES: Final = 16 * MIB
"""The message inside a frame, without its buffers. A longer one is malformed."""
BUFFERS_PER_FRAME: Final = 1 << 16
"""Out-of-band buffers of one frame. More are malformed."""
PREALLOCATE_BYTES: Final = 64 * KIB
"""A longer frame is received into one block of its own."""
ALLOCATED_LINK_BYTES: Final = 64 * MIB
"""A block up to this is allocated before its bytes come; a longer one takes memory only as they come."""
ALLOCATED_BYTES: Final = 256 * MIB
"""Blocks allocated ahead for the half-received frames of all links together; beyond it every block takes memory only as
its bytes come."""

PAGE_ITEMS: Final = 4096
"""Items of one page; the next item begins another."""
PAGE_BYTES: Final = 64 * KIB
"""A page is closed when it has reached this; one item may be larger."""
MAKER_BYTES: Final = 8
"""So many bytes of a stored value's id say which process made it."""
STORED_BYTES: Final = 64 * KIB
"""A larger value lies in a host's store; messages only name it."""
PAGE_STORED_BYTES: Final = MIB
"""A page whose rows name this much in a store is closed: what one item of it needs is held for all of them."""
PULL_AHEAD_BYTES: Final = 64 * MIB
"""How far a lazy source of items is pulled ahead of what is finished; then it is asked for no more."""

CONNECTIONS: Final = 4096
"""Connections to one scheduler, clients and workers together, or half of the files that its process may open if that is
less. One more is told `Refused` and closed, unless one that hasn't said `Hello` can make room."""
UNWELCOMED_CONNECTIONS: Final = 64
"""Connections that have not said `Hello` yet. For one more the oldest of them makes room: who means well has said it
within milliseconds."""
ACCEPTS_PER_TURN: Final = 4
"""Connections taken in one turn of the reactor; between turns everybody else is served."""
ACCEPT_PAUSE_SECONDS: Final = 0.1
"""How long no connection is taken when the process can open no more files; the oldest that haven't said `Hello` make
room."""
MESSAGES_PER_READ: Final = 64
"""Messages of one read that are handled at once; the rest waits for its turns, and the link is read again after them."""
HANDLING_SECONDS: Final = 0.005
"""After this long no further message of a read is handled at once, nor, of those that wait, in that turn."""
MESSAGES_PER_TURN: Final = 128
"""Of messages that wait so, on all links together, how many are handled in one turn of the reactor."""
QUEUED_MESSAGES: Final = 10_000
"""Messages that may wait for a peer that has stopped reading; then its link is cut. (Results aren't sent to it at all.)"""
QUEUED_BYTES: Final = 64 * MIB
"""The same in bytes, for a client: what may come on top of what waited when it was found to have stopped reading."""
RESULTS_HELD_BYTES: Final = GIB
"""Results that wait in the scheduler's memory for one client; at the limit its jobs get no new leases."""

SLOTS: Final = 1024
"""Slots of one worker. One that says it has more is refused, and so is a wish for more."""
SERVERS: Final = 1024
"""Servers of one cluster. One more is declined."""
SERVER_NAME_CHARACTERS: Final = 200
"""Of a server's name: any that can be printed, with no space at either end. Another is declined."""
TOGETHER_ITEMS: Final = 4096
"""Items of a batch function that go together in one call, whatever the function says."""

OUTPUT_ITEM_BYTES: Final = 64 * KIB
"""What one item prints. Of more, head and tail are kept."""
OUTPUT_JOB_BYTES: Final = 10 * MIB
"""What all items of a job print. More is dropped."""

LOG_LINES_ALIKE: Final = 20
"""Lines of one kind that a node's log takes within `LOG_SECONDS`; the others are counted, and a line says how many."""
LOG_SECONDS: Final = 10.0
"""The span in which lines of the log are alike."""
