"""A cable with a delay: `python delaying.py ONE OTHER MILLISECONDS` makes two TAP devices of these names in its network
namespace, prints "ready", and moves what comes out of the one into the other so many milliseconds later. It ends, and the
devices with it, when its standard input does.

For kernels without netem.
"""

import collections
import contextlib
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST = 65536
"""Bytes of a packet."""
MOST = 5000
"""Packets on their way; what is more is lost, as on any line."""


def tap(name: str) -> int:
    """A new device of this name."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def forward(one: int, other: int, delay_s: float) -> None:
    """Until standard input ends."""
    across = {one: other, other: one}
    waiting: collections.deque[tuple[float, int, bytes]] = collections.deque()
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, to, packet = waiting.popleft()
            with contextlib.suppress(OSError):  # its cable is pulled
                os.write(to, packet)
        readable, _, _ = select.select([0, *across], [], [], waiting[0][0] - now if waiting else None)
        for each in readable:
            if each == 0:
                return
            with contextlib.suppress(OSError):
                packet = os.read(each, LONGEST)
                if len(waiting) < MOST:
                    waiting.append((time.monotonic() + delay_s, across[each], packet))


if __name__ == "__main__":
    devices = tap(sys.argv[1]), tap(sys.argv[2])
    print("ready", flush=True)
    forward(*devices, float(sys.argv[3]) / 1000)
