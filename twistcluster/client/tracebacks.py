"""Remote tracebacks, with what only this process knows of a notebook's cells: their lines and their numbers.

Owns: filling these in. Must not know: where a traceback came from, how it is shown.
"""

import linecache
import re

from twistcluster.client import views

__all__ = ["with_source_lines"]

_FRAME = re.compile(r'^(\s*)File "([^"]+)", line (\d+), in .+$')


def with_source_lines(text: str) -> str:
    """The same traceback; under each frame that shows no line stands the one that this process knows.

    A slot has no files of a notebook's cells, so its tracebacks name only their place. Cells are named as the notebook
    names them: "Cell In[3]".
    """
    lines = text.split("\n")
    filled: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        frame = _FRAME.match(line)
        filled.append(line if frame is None else line.replace(f'File "{frame[2]}"', _called(frame[2]), 1))
        if frame is None or following.startswith(f"{frame[1]}  "):
            continue
        source = linecache.getline(frame[2], int(frame[3])).strip()
        if source:
            filled.append(f"{frame[1]}  {source}")
    return "\n".join(filled)


def _called(filename: str) -> str:
    """What a file is called: a cell by its number, all others as Python does."""
    cell = getattr(getattr(views.shell(), "compile", None), "format_code_name", lambda _: None)(filename)
    return " ".join(cell) if cell else f'File "{filename}"'
