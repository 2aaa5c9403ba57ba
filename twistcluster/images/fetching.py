"""Pictures from the web, with limits.

Owns: how an address becomes bytes, in the slot that runs the item. Must not know: what is done with them. urllib3 is an
extra, imported by the first address that is fetched.
"""

from typing import Any, Final

from twistcluster.errors import PictureError, PictureTooLarge, PictureUnreadable, TwistclusterError

__all__ = ["ALL_TIMES", "MAX_BYTES", "TIMEOUT_S", "fetched", "require_urllib3", "shown"]

TIMEOUT_S: Final = 30.0
"""Seconds until an answer must have begun."""
ALL_TIMES: Final = 4
"""After so many times as many seconds all of it must be there."""
MAX_BYTES: Final = 256 << 20
"""Of one picture's file."""
PART_BYTES: Final = 1 << 16

_ALLOW: Final = "allow more time by images(…, timeout=…)"


def require_urllib3() -> None:
    """Raise what says how to get it, if it isn't here."""
    try:
        import urllib3  # noqa: F401
    except ImportError:
        raise TwistclusterError(
            'pictures by their address need urllib3: pip install "twistcluster[images]", here and where the workers run'
        ) from None


def shown(url: str) -> str:
    """An address without what may be secret in it: its query, its user and password.

    >>> shown("https://me:secret@host/a.jpg?token=secret")
    'https://host/a.jpg'
    """
    scheme, parted, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{parted}{host.rpartition('@')[2]}{slash}{path}"


def fetched(url: str, name: str, timeout_s: float, max_bytes: int) -> bytes:
    """The bytes at an address.

    Args:
        url: http or https.
        name: What errors call it.
        timeout_s: Seconds until the answer must have begun, redirects included; after four times that all of it must be
            there.
        max_bytes: How much is taken.

    Raises:
        PictureUnreadable: Nobody answers there in time, or with an error, or the answer breaks off.
        PictureTooLarge: It is longer.
    """
    require_urllib3()
    from http.client import HTTPException

    import urllib3

    from twistcluster.images.timed import Moment, pool

    moment = Moment(timeout_s)
    size, until = 0, timeout_s
    try:
        answer = pool().request("GET", url, timeout=timeout_s, preload_content=False)
        try:
            if answer.status >= 300:
                raise PictureUnreadable(
                    f"{name} can't be fetched: the server answered {answer.status} {answer.reason or ''}".rstrip()
                    + f"; {_advice(answer.status)}"
                )
            said = answer.headers.get("content-length", "")
            if said.isdigit():
                _check(name, int(said), max_bytes)
            until = ALL_TIMES * timeout_s
            moment.put_off(until)
            parts = []
            for part in answer.stream(PART_BYTES):
                parts.append(part)
                size += len(part)
                _check(name, size, max_bytes)
            return b"".join(parts)
        finally:
            answer.close()
    except PictureError:
        raise
    except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        if not moment.over:
            why = _why(error)
        elif until == timeout_s:
            why = f"timed out, no answer began in {until:g} s; check the address, or {_ALLOW}"
        else:
            why = f"timed out, it wasn't all there in {until:g} s; {_ALLOW}"
        raise PictureUnreadable(f"{name} can't be fetched: {why}") from error


def _check(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PictureTooLarge(
            f"{name} is longer than {max_bytes:,} bytes: if it is what it should be, allow more by images(…, max_bytes=…)"
        )


def _advice(status: int) -> str:
    if status in {401, 403, 407}:
        return "it isn't open to everybody: fetch it in your program, and give its bytes"
    return "try again later" if status in {408, 425, 429} or status >= 500 else "check the address"


def _why(error: Any) -> str:
    import urllib3.exceptions as wrong

    reason = getattr(error, "reason", None)
    error = reason if isinstance(reason, BaseException) else error
    if isinstance(error, ValueError) and not isinstance(error, wrong.URLSchemeUnknown):  # its text may have all of it
        return "it, or where it leads, is no valid address; check it"
    told = error.args[0] if len(error.args) == 2 and isinstance(error.args[0], str) else error  # and what it comes from
    text = str(told).rpartition(">: ")[2].rpartition("): ")[2] or type(error).__name__
    if isinstance(error, wrong.ProtocolError | wrong.DecodeError | wrong.IncompleteRead):
        return f"the answer breaks off or makes no sense ({text}); try again"
    return f"{text}; check the address, and whether it can be reached from where the workers run"
