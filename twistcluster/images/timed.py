"""Connections to web servers that keep to one moment, whatever a server does to draw things out.

Owns: that. Must not know: pictures. It needs urllib3, and is imported by the first address that is fetched.

urllib3's and the socket's timeouts are for one read each: a server that sends a byte now and then is never late. Here
each wait, of a connection, of a handshake, of a line of the head and of a part of the body, lasts as long as is left until
the moment that the thread set. Looking up a host's name is the system's own: it ends when that gives up.
"""

import functools
import http.client
import io
import socket
import threading
import time
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["Moment", "pool"]

REDIRECTS: Final = 5


class Moment:
    """When what this thread waits for must be there; `put_off` moves it.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._until = self._began + seconds
        _of_thread.moment = self

    def put_off(self, seconds: float) -> None:
        """It is so many seconds after this was made."""
        self._until = self._began + seconds

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._until

    def left(self) -> float:
        """Seconds until then.

        Raises:
            TimeoutError: It has passed.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _OfThread(threading.local):
    moment: Moment


_of_thread: Final = _OfThread()


class _Reader(io.RawIOBase):
    """What a socket receives, as long as there is time."""

    def __init__(self, sock: socket.socket, moment: Moment) -> None:
        super().__init__()
        self._socket = sock
        self._moment = moment
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """What comes next, at once."""
        self._socket.settimeout(self._moment.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._file.close()
        super().close()


class _Socket:
    """What an answer needs of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        """For head and body."""
        return io.BufferedReader(_Reader(self._socket, _of_thread.moment))


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(_Socket(sock), *args, **options)  # type: ignore[arg-type]


class _Timed(HTTPConnection):
    """A connection that is there in time."""

    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        moment = _of_thread.moment
        try:
            addresses = len(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)) or 1
        except (OSError, ValueError):
            addresses = 1  # what is wrong is told below
        try:
            self.timeout = moment.left() / addresses  # they are tried one after another
            found = super()._new_conn()
            found.settimeout(moment.left())  # for a handshake
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, str(error)) from error
        return found


class _TimedSafe(_Timed, HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Timed


class _SafePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedSafe


@functools.cache
def pool() -> urllib3.PoolManager:
    """Connections that this process keeps open. Make a `Moment` before each request."""
    retries = urllib3.Retry(
        total=REDIRECTS + 1,
        connect=1,
        read=1,
        redirect=REDIRECTS,
        status=0,
        other=0,
        respect_retry_after_header=False,  # a slot doesn't sleep
    )
    made = urllib3.PoolManager(num_pools=16, retries=retries, headers={"user-agent": "twistcluster"})
    made.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}
    return made
