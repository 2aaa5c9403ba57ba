"""A user's value in words. Runs in the render process.

Owns: how much of a `repr` is told, and that it can be shown anywhere. Must not know: views.
"""

import itertools
from typing import Any

from twistcluster.client.texts import spelled_out

__all__ = ["in_words", "repr_of"]

RESULT_CHARACTERS = 200
RESULT_LINES = 2


def repr_of(value: Any) -> str:
    """Its `repr`, or what it is where that raises; what UTF-8 doesn't have is spelled out."""
    try:
        return spelled_out(repr(value))
    except Exception:
        return f"a {type(value).__name__}"


def in_words(value: Any) -> str:
    """The beginning of its `repr`: two lines, 200 characters, nothing unprintable.

    Example:
        >>> in_words(42)
        '42'
        >>> len(in_words("x" * 1000)), in_words("x" * 1000)[-2:]
        (200, 'x…')
    """
    lines = repr_of(_beginning(value)).expandtabs().splitlines()
    # Lines are cut before their characters are escaped, so that a huge one isn't escaped as a whole.
    kept = [_printable(line[: RESULT_CHARACTERS + 1].rstrip()) for line in lines[:RESULT_LINES]]
    text = "\n".join(kept)
    if len(text) > RESULT_CHARACTERS:
        return text[: RESULT_CHARACTERS - 1] + "…"
    if len(lines) > RESULT_LINES:
        return text[: RESULT_CHARACTERS - 2] + " …"
    return text


def _beginning(value: Any, depth: int = 2) -> Any:
    """As much of a large container as is sure to be cut: writing out millions of items would take seconds."""
    most = RESULT_CHARACTERS
    kind = type(value)
    if kind in {str, bytes, bytearray}:
        return value[: most + 1]
    if depth == 0:
        return value
    if kind in {list, tuple}:
        return kind(_beginning(item, depth - 1) for item in value[:most])
    if kind in {set, frozenset} and len(value) > most:
        return kind(itertools.islice(value, most))
    if kind is dict:
        return {key: _beginning(item, depth - 1) for key, item in itertools.islice(value.items(), most)}
    return value


def _printable(line: str) -> str:
    """Control characters and halves of characters as a string's `repr` has them."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in line
    )
