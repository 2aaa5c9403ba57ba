"""Durations and sizes as people write them: 600, "10m", "2GiB".

Owns: the units. Must not know: what the quantities are for.
"""

import re
from typing import Final

__all__ = ["check_text", "count", "duration_text", "memory_limit_bytes", "seconds", "size_bytes", "size_text"]

DURATIONS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SIZES: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40,
}  # fmt: skip
LEAST_MEMORY: Final = 64 * 2**20
"""A slot that has imported NumPy uses half of that."""
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")


def seconds(value: float | str, name: str = "a duration") -> float:
    """Return seconds.

    Example:
        >>> seconds("1.5h"), seconds(3), seconds("250ms")
        (5400.0, 3.0, 0.25)
    """
    number, unit = _split(value, name, '"5s", "10m", "1.5h"')
    if unit and unit not in DURATIONS:
        raise ValueError(f'{name} is a number of seconds, or like "5s", "10m", "1.5h"; {value!r} isn\'t')
    return number * DURATIONS[unit or "s"]


def size_bytes(value: float | str, name: str = "a size") -> int:
    """Return bytes.

    Example:
        >>> size_bytes("2GiB"), size_bytes("1.5 kB"), size_bytes(10)
        (2147483648, 1500, 10)
    """
    number, unit = _split(value, name, '"64MiB", "2GiB"')
    if unit.lower() not in SIZES:
        raise ValueError(f'{name} is a number of bytes, or like "64MiB", "2GiB"; {value!r} isn\'t')
    return int(number * SIZES[unit.lower()])


def memory_limit_bytes(value: float | str) -> int:
    """Return how much memory a slot may use.

    Example:
        >>> memory_limit_bytes("2GiB")
        2147483648
    """
    limit = size_bytes(value, "memory_limit")
    if limit < LEAST_MEMORY:
        raise ValueError(
            f'memory_limit is what each slot may use, at least {size_text(LEAST_MEMORY)}, like "2GiB"; not {value!r}'
        )
    return limit


def count(value: int, name: str, least: int = 0, most: int | None = None) -> int:
    """Return a whole number that isn't below `least`, nor above `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} is at least {least}, not {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} is at most {most:,}, not {value:,}")
    return value


def check_text(value: str, name: str) -> str:
    """Return a text that can be sent: without half characters, as names of files that aren't UTF-8 have."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} {value!r} can't be sent: its character {error.start + 1} is none of Unicode"
        ) from None
    return value


def duration_text(value: float) -> str:
    """For people.

    Example:
        >>> duration_text(0.034), duration_text(7.25), duration_text(75), duration_text(7384)
        ('34 ms', '7.2 s', '1:15', '2:03:04')
    """
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size_text(value: float) -> str:
    """For people.

    Example:
        >>> size_text(900), size_text(5 * 2**20)
        ('900 B', '5.0 MiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _split(value: float | str, name: str, examples: str) -> tuple[float, str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number, unit = _number(value), ""
    elif isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        number, unit = float(match[1]), match[2]
    else:
        raise ValueError(f"{name} is a number, or like {examples}; {value!r} isn't")
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} can't be {value!r}")
    return number, unit


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return float("inf")
