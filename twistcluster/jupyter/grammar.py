"""What may stand in a line of `%cluster`: commands, options, arguments, and what is said of a misspelt one.

Owns: the table of commands and the parsing of a line against it. Must not know: IPython, clusters, or how a command
is carried out. What follows `submit` or `map` is handed on as text, for `expressions.py` to read.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from twistcluster.client.quantities import seconds

__all__ = [
    "CELLS",
    "COMMANDS",
    "Command",
    "GrammarError",
    "Option",
    "Request",
    "count_argument",
    "help_text",
    "parse_cell",
    "parse_line",
]

Value = str | int | bool


class GrammarError(Exception):
    """A line that can't be understood. The message has at most five lines and names the next command."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, as in `-n SLOTS`."""

    names: tuple[str, ...]
    help: str
    metavar: str = ""
    """What stands for its value; an option without one is a switch."""
    kind: Literal["text", "count", "number", "duration", "variable"] = "text"

    @property
    def key(self) -> str:
        """The longest of its names, without dashes."""
        return max(self.names, key=len).lstrip("-")

    @property
    def usage(self) -> str:
        """How it stands in a line, as in "-n/--slots SLOTS"."""
        return " ".join(filter(None, ("/".join(self.names), self.metavar)))


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `%cluster` or `%%cluster`."""

    name: str
    summary: str
    example: str
    arguments: tuple[str, ...] = ()
    """Names of positional arguments; in square brackets: may be left out."""
    options: tuple[Option, ...] = ()
    rest: str = ""
    """What the rest of the line, or the cell, is, if it isn't words."""
    cell: bool = False
    below: tuple[str, ...] = ()
    """The lines of the example that stand under its first."""

    @property
    def magic(self) -> str:
        """What the line begins with."""
        return "%%cluster" if self.cell else "%cluster"

    @property
    def usage(self) -> str:
        """The whole line, options in square brackets."""
        words = [self.magic, self.name, *(f"[{option.usage}]" for option in self.options), *self.arguments]
        if self.rest and not self.cell:
            words.append(self.rest)
        return " ".join(words)

    def option(self, name: str) -> Option | None:
        """Its option of this name, dashes included."""
        return next((option for option in self.options if name in option.names), None)


@dataclass(frozen=True, slots=True)
class Request:
    """A line that was understood."""

    command: Command
    options: Mapping[str, Value] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    rest: str = ""

    def text(self, key: str) -> str | None:
        """The option's value as text, or None if it wasn't given."""
        value = self.options.get(key)
        return None if value is None else str(value)

    def number(self, key: str) -> int | None:
        """The option's value as a number, or None if it wasn't given."""
        value = self.options.get(key)
        return None if value is None else int(value)

    def has(self, key: str) -> bool:
        """Whether this switch was given."""
        return bool(self.options.get(key))


_VARIABLE = Option(("--as",), "the variable to bind it to, instead of cluster", "VAR", "variable")
_NAME = Option(("--name",), "the job's name", "NAME")
_OUT = Option(("-o", "--out"), "the variable to bind what is returned to", "NAME", "variable")
_WAIT = Option(("--wait",), "wait until it is finished")
_PRIORITY = Option(("--priority",), "a higher one goes first (0 unless given)", "NUMBER", "number")
_RETRIES = Option(("--retries",), "how often an item that failed runs again (0 unless given)", "TIMES", "number")
_TIME_LIMIT = Option(
    ("--time-limit",), "how long an item may run, as 30 or 5m (any time unless given)", "TIME", "duration"
)
_WORK = (_NAME, _OUT, _WAIT, _PRIORITY, _RETRIES, _TIME_LIMIT)


def _table(*commands: Command) -> Mapping[str, Command]:
    return {command.name: command for command in commands}


COMMANDS: Mapping[str, Command] = _table(
    Command(
        "start",
        "start the cluster of this name (`default`), or find it if it runs",
        "%cluster start -n 4",
        options=(
            Option(("-n", "--slots"), "how many items run at once (one for each core unless given)", "SLOTS", "count"),
            Option(("--name",), "its name (`default` unless given)", "NAME"),
            _VARIABLE,
        ),
    ),
    Command("connect", "use a cluster that runs already", "%cluster connect lab", ("NAME",), (_VARIABLE,)),
    Command("list", "the clusters that you run on this machine", "%cluster list"),
    Command("status", "this cluster's workers, slots and jobs", "%cluster status"),
    Command(
        "submit",
        "run one expression on a worker; returns its future",
        "fut = %cluster submit slow_square(7)",
        options=_WORK,
        rest="EXPRESSION",
    ),
    Command(
        "map",
        "run the body for each item, on all workers; returns the job",
        "job = %cluster map thumbnail(p) for p in paths",
        options=_WORK,
        rest="BODY for x in ITEMS",
    ),
    Command("jobs", "the jobs of this cluster, the newest first", "%cluster jobs"),
    Command("job", "find a job by its name or id, and show it live", "%cluster job thumbnail-3", ("NAME",)),
    Command(
        "cancel",
        "stop this job: what runs of it is stopped, and nothing more starts",
        "%cluster cancel thumbnail-3",
        ("NAME",),
    ),
    Command("logs", "what the job's items printed, or its item I", "%cluster logs thumbnail-3 17", ("NAME", "[I]")),
    Command("errors", "the job's errors, each with its item", "%cluster errors thumbnail-3", ("NAME",)),
    Command("retry", "run the failed items of this job again", "%cluster retry thumbnail-3", ("NAME",)),
    Command("scale", "set the number of slots on this machine", "%cluster scale 8", ("SLOTS",)),
    Command(
        "invite",
        "let another machine join: a line to paste there, which isn't saved with the notebook",
        "%cluster invite",
        options=(
            Option(("--role",), "what it joins as, `worker` or `client` (`worker` unless given)", "ROLE"),
            Option(("--uses",), "how many may join with the line (1 unless given)", "TIMES", "count"),
            Option(("--expires",), "how long the line is good, as 1h (10m unless given)", "TIME", "duration"),
        ),
    ),
    Command("restart", "new processes for all slots; jobs go on", "%cluster restart"),
    Command(
        "stop",
        "end this cluster, for everyone",
        "%cluster stop",
        options=(Option(("--force",), "even if others use it or jobs are open"),),
    ),
    Command("help", "this list, or all about one command", "%cluster help map", ("[COMMAND]",)),
)
CELLS: Mapping[str, Command] = _table(
    Command(
        "submit",
        "run the cell on a worker; its last expression is the result, names it assigns stay there",
        "%%cluster submit -o fut",
        options=_WORK,
        rest="the cell",
        cell=True,
        below=("table = load(path)", "table.mean()"),
    ),
    Command(
        "everywhere",
        "run the cell in every slot, also in those to come; functions find the names it assigns",
        "%%cluster everywhere",
        rest="the cell",
        cell=True,
        below=("model = load_model()",),
    ),
)

_WORD = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^\s"'])+|["'].*)""", re.DOTALL)
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


def parse_line(line: str) -> Request:
    """Parse what follows `%cluster`.

    Raises:
        GrammarError: with a text of at most five lines for the person who typed it.
    """
    return _parse(line, COMMANDS)


def parse_cell(line: str) -> Request:
    """Parse what follows `%%cluster` in its first line."""
    return _parse(line, CELLS)


def _parse(line: str, commands: Mapping[str, Command]) -> Request:
    name, rest = _word(line)
    if not name:
        first = next(iter(commands.values()))
        msg = f"{first.magic} needs a command, as in: {first.example}\nAll commands: %cluster help"
        raise GrammarError(msg)
    command = commands.get(name)
    if command is None:
        raise GrammarError(_unknown_command(name, rest, commands))
    return _parse_words(command, rest) if command.cell or not command.rest else _parse_expression(command, rest)


def _parse_words(command: Command, line: str) -> Request:
    options: dict[str, Value] = {}
    arguments: list[str] = []
    while True:
        word, after = _word(line)
        if not word:
            break
        if word.startswith("-") and len(word) > 1:
            line = _take_option(command, line, options)
        else:
            arguments.append(_unquoted(word))
            line = after
    required = [name for name in command.arguments if not name.startswith("[")]
    if len(arguments) < len(required):
        msg = f"{command.name} needs {required[len(arguments)]}: {command.usage}\nFor example: {command.example}"
        raise GrammarError(msg)
    if len(arguments) > len(command.arguments):
        surplus = arguments[len(command.arguments)]
        msg = f"{command.name} doesn't take {surplus!r}: {command.usage}\nMore: %cluster help {command.name}"
        raise GrammarError(msg)
    return Request(command, options, tuple(arguments))


def _parse_expression(command: Command, line: str) -> Request:
    options: dict[str, Value] = {}
    while True:
        word, after = _word(line)
        if word == "--":
            line = after
            break
        if not word.startswith("-"):
            break
        line = _take_option(command, line, options)
    if not line.strip():
        msg = f"{command.name} needs an expression: {command.usage}\nFor example: {command.example}"
        raise GrammarError(msg)
    return Request(command, options, rest=line.strip())


def _take_option(command: Command, line: str, options: dict[str, Value]) -> str:
    """Take the option that `line` begins with; returns what follows."""
    word, rest = _word(line)
    name, equals, value = word.partition("=")
    option = command.option(name)
    if option is None and not word.startswith("--") and command.option(word[:2]):
        # Glued, as in -n4.
        name, equals, value = word[:2], "=", word[2:]
        option = command.option(name)
    if option is None:
        raise GrammarError(_unknown_option(name, command))
    if option.key in options:
        msg = f"{name} is given twice: {command.usage}"
        raise GrammarError(msg)
    if not option.metavar:
        if equals:
            msg = f"{name} takes no value: {command.usage}"
            raise GrammarError(msg)
        options[option.key] = True
        return rest
    if not equals:
        value, rest = _word(rest)
    options[option.key] = _option_value(option, name, _unquoted(value), command)
    return rest


def _option_value(option: Option, name: str, text: str, command: Command) -> Value:
    if not text or text.startswith("--"):
        msg = f"{name} needs a value: {name} {option.metavar}\nFor example: {command.example}"
        raise GrammarError(msg)
    if option.kind == "variable" and not text.isidentifier():
        msg = f"{name} needs the name of a variable, and {text!r} isn't one.\nMore: %cluster help {command.name}"
        raise GrammarError(msg)
    if option.kind == "duration":
        return _duration(text, name, command)
    if option.kind in {"count", "number"}:
        return _integer(text, 1 if option.kind == "count" else None, f"{name} {option.metavar}", command)
    return text


def _duration(text: str, name: str, command: Command) -> str:
    try:
        if seconds(text) > 0:
            return text
    except ValueError:
        pass
    msg = f"{name} is a time, as in {name} 30 or {name} 5m; {text!r} isn't one.\nMore: %cluster help {command.name}"
    raise GrammarError(msg)


def _integer(text: str, least: int | None, what: str, command: Command) -> int:
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or (least is not None and number < least):
        limit = "" if least is None else f", {least} or more"
        msg = f"{what} is a whole number{limit}; {text!r} isn't one.\nFor example: {command.example}"
        raise GrammarError(msg)
    return number


def count_argument(request: Request, position: int, least: int) -> int | None:
    """The whole number that stands at a position of the arguments, or None if that was left out."""
    if len(request.arguments) <= position:
        return None
    what = request.command.arguments[position].strip("[]")
    value = _integer(request.arguments[position], least, what, request.command)
    return int(value)


def _word(line: str) -> tuple[str, str]:
    """The first word, quotes and all, and what follows it."""
    match = _WORD.match(line)
    return (match.group(1), line[match.end() :]) if match else ("", "")


def _unquoted(word: str) -> str:
    return _QUOTED.sub(lambda match: match.group(1) or match.group(2) or "", word)


# ---- what is said of a misspelt word -----------------------------------------------------------------------------------


_MEANT: Final = {"result": "job", "results": "job", "quit": "stop", "end": "stop"}
"""What is meant by words of others."""


def _nearest(word: str, words: Iterable[str]) -> str:
    found = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.5)
    return found[0] if found else ""


def _unknown_command(name: str, rest: str, commands: Mapping[str, Command]) -> str:
    cell = commands is CELLS
    magic = "%%cluster" if cell else "%cluster"
    if cell and name in COMMANDS:
        return f"{name} is for a line, not for a cell.\nTry: %cluster {name}{rest}"
    if not cell and name in CELLS:
        return f"{name} is for a cell: begin the cell with %%cluster {name}, and the code below it."
    lines = [f"{magic} has no command {name!r}."]
    meant = _MEANT.get(name, "")
    near = meant if meant in commands else _nearest(name, commands)
    if near:
        lines.append(f"Did you mean: {magic} {near}{rest}")
    return "\n".join([*lines, "All commands: %cluster help"])


def _unknown_option(name: str, command: Command) -> str:
    known = [name for option in command.options for name in option.names]
    near = _nearest(name, known)
    lines = [f"{command.name} has no option {name}."]
    if near:
        lines.append(f"Did you mean: {near}")
    if command.rest and not command.cell:
        lines.append(f"An expression that begins with a minus follows two dashes: {command.magic} {command.name} -- -x")
    return "\n".join([*lines, f"Usage: {command.usage}", f"More: %cluster help {command.name}"])


# ---- help --------------------------------------------------------------------------------------------------------------


def help_text(name: str = "") -> str:
    """The list of commands, or all about one of them."""
    if not name:
        return _overview()
    commands = [table[name] for table in (COMMANDS, CELLS) if name in table]
    if not commands:
        raise GrammarError(_unknown_command(name, "", COMMANDS))
    return "\n\n".join(_describe(command) for command in commands)


def _overview() -> str:
    commands = [*COMMANDS.values(), *CELLS.values()]
    names = [f"{command.magic} {command.name}" for command in commands]
    width = max(map(len, names))
    lines = [f"{name:<{width}}  {command.summary}" for name, command in zip(names, commands, strict=True)]
    return "\n".join([*lines, "", "More about one of them: %cluster help map"])


def _describe(command: Command) -> str:
    lines = [command.usage, f"  {command.summary[0].upper()}{command.summary[1:]}."]
    width = max((len(option.usage) for option in command.options), default=0)
    lines += [f"  {option.usage:<{width}}  {option.help}" for option in command.options]
    first = "  For example: "
    return "\n".join([*lines, first + command.example, *(" " * len(first) + line for line in command.below)])
