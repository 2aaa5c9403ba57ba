"""Pictures from the web, with limits.

Owns: how an address becomes bytes, in the slot that runs the item. Must not know: what is done with them. urllib3 is an
extra, imported by the first address that is fetched.
"""

import functools
from typing import Any, Final

from twistcluster.errors import PictureTooLarge, PictureUnreadable, TwistclusterError

__all__ = ["MAX_BYTES", "TIMEOUT_S", "fetched", "require_urllib3"]

TIMEOUT_S: Final = 30.0
"""Seconds in which a server must answer, and send all."""
MAX_BYTES: Final = 256 << 20
"""Of one picture's file."""
REDIRECTS: Final = 5
PART_BYTES: Final = 1 << 16


def require_urllib3() -> None:
    """Raise what says how to get it, if it isn't here."""
    try:
        import urllib3  # noqa: F401
    except ImportError:
        raise TwistclusterError(
            'pictures by their address need urllib3: pip install "twistcluster[images]", here and where the workers run'
        ) from None


def fetched(url: str, name: str, timeout_s: float, max_bytes: int) -> bytes:
    """The bytes at an address.

    Args:
        url: http or https.
        name: What errors call it.
        timeout_s: Seconds until the answer must have begun, and at most between two parts of it; in all, four times that.
        max_bytes: How much is taken.

    Raises:
        PictureUnreadable: Nobody answers there, or with an error, or the answer breaks off.
        PictureTooLarge: It is longer.
    """
    require_urllib3()
    import time

    import urllib3

    until = time.monotonic() + 4 * timeout_s
    try:
        answer = _pool().request("GET", url, timeout=timeout_s, preload_content=False)
        try:
            if answer.status >= 400:
                raise PictureUnreadable(f"{name} can't be fetched: the server answered {answer.status} {answer.reason}")
            said = answer.headers.get("content-length", "")
            if said.isdigit():
                _check(name, int(said), max_bytes)
            parts, size = [], 0
            for part in answer.stream(PART_BYTES):
                parts.append(part)
                size += len(part)
                _check(name, size, max_bytes)
                if time.monotonic() > until:
                    raise PictureUnreadable(
                        f"{name} can't be fetched: {size:,} bytes came in {4 * timeout_s:g} s, and there are more; "
                        "allow more time by images(…, timeout=…)"
                    )
            return b"".join(parts)
        finally:
            answer.close()
    except urllib3.exceptions.HTTPError as error:
        raise PictureUnreadable(f"{name} can't be fetched: {_why(error)}") from error


def _check(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PictureTooLarge(
            f"{name} is longer than {max_bytes:,} bytes: if it is what it should be, allow more by images(…, max_bytes=…)"
        )


@functools.cache
def _pool() -> Any:
    """Connections that this slot keeps open."""
    import urllib3

    retries = urllib3.Retry(total=REDIRECTS + 1, connect=1, read=1, redirect=REDIRECTS, status=0, other=0)
    return urllib3.PoolManager(num_pools=16, retries=retries, headers={"user-agent": "twistcluster"})


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error)
    return text.rpartition(">: ")[2] or type(error).__name__
