"""Remote tracebacks, with the source lines that only this process has: those of a notebook's cells.

Owns: filling them in. Must not know: where a traceback came from, how it is shown.
"""

import linecache
import re

__all__ = ["with_source_lines"]

_FRAME = re.compile(r'^(\s*)File "([^"]+)", line (\d+), in .+$')


def with_source_lines(text: str) -> str:
    """The same traceback; under each frame that shows no line stands the one that this process knows.

    A slot has no files of a notebook's cells, so its tracebacks name only their place.
    """
    lines = text.split("\n")
    filled: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        filled.append(line)
        frame = _FRAME.match(line)
        if frame is None or following.startswith(f"{frame[1]}  "):
            continue
        source = linecache.getline(frame[2], int(frame[3])).strip()
        if source:
            filled.append(f"{frame[1]}  {source}")
    return "\n".join(filled)
