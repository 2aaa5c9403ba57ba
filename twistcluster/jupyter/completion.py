"""What may come next in a line of `%cluster`, for the TAB key.

Owns: finding the word at the cursor and the candidates for it. Must not know: IPython, or where names come from: they are
handed in.
"""

import builtins
import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from twistcluster.jupyter.grammar import CELLS, COMMANDS, Command, Option

__all__ = ["Candidate", "Completion", "Names", "complete"]

_LINE = re.compile(r"^\s*(?:[\w\s,.\[\]'\"]+=\s*)?(%%?)cluster[ \t]+(.*)$", re.DOTALL)
_LAST_WORD = re.compile(r"\S*$")
_LAST_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*$|(?<![\w.])$")

Kind = Literal["command", "option", "name", "variable"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may come next, and what it is."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Completion:
    """Candidates for `fragment`, the text just before the cursor that one of them is to replace."""

    fragment: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """Where names come from. They are asked only when they are needed."""

    clusters: Callable[[], Iterable[str]]
    jobs: Callable[[], Iterable[str]]
    variables: Callable[[], Mapping[str, object]]


def complete(line: str, first_line: bool, names: Names) -> Completion | None:
    """The candidates at the end of `line`, the line up to the cursor.

    Args:
        line: from its begin up to the cursor.
        first_line: whether it is the first of its cell: only there a `%%cluster` counts.
        names: clusters, jobs and variables.

    Returns:
        None where the line isn't ours, or where Python's own completion knows more: after a dot, inside a string.
    """
    match = _LINE.match(line)
    if match is None or (match.group(1) == "%%" and not first_line):
        return None
    commands = COMMANDS if match.group(1) == "%" else CELLS
    words = match.group(2).split()
    if not words or (len(words) == 1 and not line[-1].isspace()):
        fragment = words[0] if words else ""
        return _of(fragment, "command", commands)
    command = commands.get(words[0])
    if command is None:
        return None
    fragment = _last(_LAST_WORD, line)
    return _within(command, words[1:] if not fragment else words[1:-1], fragment, line, names)


def _within(command: Command, before: list[str], fragment: str, line: str, names: Names) -> Completion | None:
    """`before` are the whole words between the command and the fragment."""
    typing_expression = bool(command.rest) and not command.cell and _past_options(command, before)
    if typing_expression:
        return _variables(line, names)
    expected = _wants_value(command, before[-1]) if before else None
    if expected is not None:
        return _value(command, expected, fragment, names)
    if fragment.startswith("-"):
        used = {option for word in before if (option := command.option(word.partition("=")[0]))}
        left = [name for option in command.options if option not in used for name in option.names]
        return _of(fragment, "option", left)
    if command.name == "help":
        return _of(fragment, "command", dict.fromkeys([*COMMANDS, *CELLS]))
    if command.rest and not command.cell:
        return _variables(line, names)
    position = len([word for word in before if not word.startswith("-")])
    if position == 0 and "NAME" in command.arguments:
        known = names.clusters() if command.name == "connect" else names.jobs()
        return _of(fragment, "name", known)
    left = [] if fragment else [name for option in command.options for name in option.names]
    return _of(fragment, "option", left)


def _past_options(command: Command, before: list[str]) -> bool:
    """Whether the words before the cursor already hold something of the expression."""
    value_follows = False
    for word in before:
        if value_follows:
            value_follows = False
        elif word == "--" or not word.startswith("-"):
            return True
        else:
            value_follows = _wants_value(command, word) is not None
    return False


def _wants_value(command: Command, word: str) -> Option | None:
    option = command.option(word)
    return option if option is not None and option.metavar else None


def _value(command: Command, option: Option, fragment: str, names: Names) -> Completion:
    if option.kind == "variable":
        return _of(fragment, "variable", _own(names.variables()))
    if option.key == "name":
        return _of(fragment, "name", names.clusters() if command.name == "start" else ())
    return Completion(fragment, ())


def _variables(line: str, names: Names) -> Completion | None:
    match = _LAST_NAME.search(line)
    if match is None or _inside_string(line):
        return None
    fragment = match.group()
    mine = _own(names.variables())
    if not fragment:
        return _of("", "variable", mine)
    return _of(fragment, "variable", [*mine, *(name for name in _python() if name not in mine)])


def _own(variables: Mapping[str, object]) -> list[str]:
    return sorted(name for name in variables if not name.startswith("_"))


def _python() -> list[str]:
    return sorted({*(name for name in dir(builtins) if not name.startswith("_")), *keyword.kwlist})


def _inside_string(line: str) -> bool:
    quote = ""
    for character in line:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return bool(quote)


def _last(pattern: re.Pattern[str], line: str) -> str:
    match = pattern.search(line)
    return match.group() if match else ""


def _of(fragment: str, kind: Kind, texts: Iterable[str]) -> Completion:
    fitting = (text for text in texts if text.startswith(fragment))
    return Completion(fragment, tuple(Candidate(text, kind) for text in fitting))
