"""Writes docs/protocol.md from the tables that the code runs by: `python -m twistcluster.testing.protocol_page [--check]`.

Owns: how the page is laid out. What stands in it comes from the messages' own docstrings and fields, and
from every `TRANSITIONS` table listed here. Must not know: what any of it means.
"""

import argparse
import ast
import enum
import importlib
import inspect
import itertools
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from twistcluster.wire import frames, messages, pages

__all__ = ["PAGE", "attribute_docs", "main", "one_line", "protocol_page", "table", "write_page"]

PAGE: Final = "docs/protocol.md"

DIRECTIONS: Final = {
    "ClientToScheduler": "Client to scheduler",
    "SchedulerToClient": "Scheduler to client",
    "WorkerToScheduler": "Worker to scheduler",
    "SchedulerToWorker": "Scheduler to worker",
    "WorkerToSlot": "Worker to slot",
    "SlotToWorker": "Slot to worker",
}
MACHINES: Final = {"A link": "twistcluster.net.states", "A job": "twistcluster.core.jobs"}
"""Titles and modules; each has a table `TRANSITIONS`: (state, event) -> state."""

HEAD: Final = """\
<!-- Made by `python -m twistcluster.testing.protocol_page`; edit the tables in the code, not this page. -->
# The protocol

Protocol number {protocol}. Peers whose number or Python minor version differs are refused.
"""


def protocol_page() -> str:
    """The page, whole."""
    parts = [
        HEAD.format(protocol=messages.PROTOCOL),
        *section("Frames", module_text(frames)),
        *section("Packed values", module_text(pages)),
        *section("Limits", "What is over a limit ends that one link at most: [limits.md](limits.md)."),
        *section("Who says what", "Before its first message anybody who connects says `Hello`."),
        *direction_table(),
        *section("States", "An event that a table doesn't list for a state is an error and changes nothing."),
        *(part for title, module in MACHINES.items() for part in machine(title, module)),
        *section("Messages", module_text(messages)),
        *(part for message in all_messages() for part in message_part(message)),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def section(title: str, text: str) -> Iterator[str]:
    """A heading and what stands under it."""
    yield f"## {title}"
    yield text


def module_text(module: types.ModuleType) -> str:
    """A module's docstring without its first sentence on what it owns, which is for those who change it."""
    text = inspect.cleandoc(module.__doc__ or "")
    sentences = text.replace(" Owns:", "\nOwns:").replace(" Must not know:", "\nMust not know:").split("\n")
    kept: list[str] = []
    skipping = False
    for line in sentences:
        skipping = line.startswith(("Owns:", "Must not know:")) or (skipping and bool(line))
        if not skipping:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


# ---- tables ----------------------------------------------------------------------------------------------------------


def direction_table() -> Iterator[str]:
    """The messages of each direction, in the order of their union."""
    rows = [
        [title, ", ".join(link(member) for member in typing.get_args(getattr(messages, name)))]
        for name, title in DIRECTIONS.items()
    ]
    yield table(["direction", "messages"], rows)


def machine(title: str, name: str) -> Iterator[str]:
    """A state machine: its states, where they are described, and its transitions."""
    module = importlib.import_module(name)
    transitions: Mapping[tuple[object, object], object] = module.TRANSITIONS
    yield f"### {title}"
    yield f"`TRANSITIONS` in `{name}`."
    docs = attribute_docs(module)
    kinds = {type(after): None for after in transitions.values() if isinstance(after, enum.Enum)}
    described = [
        [f"**{word(state)}**", one_line(docs.get(kind.__name__, {}).get(state.name, ""))]
        for kind in kinds
        for state in kind
    ]
    if described:
        yield table(["state", "meaning"], described)
    yield table(
        ["in state", "when", "then"],
        [[f"**{word(before)}**", word(event), f"**{word(after)}**"] for (before, event), after in transitions.items()],
    )


def message_part(message: type[msgspec.Struct]) -> Iterator[str]:
    """A message: its docstring, who says it, and its fields."""
    yield f"### {message.__name__}"
    yield inspect.cleandoc(message.__doc__ or "")
    said = [title for name, title in DIRECTIONS.items() if message in typing.get_args(getattr(messages, name))]
    if said:
        yield f"*{', '.join(said)}.*"
    fields = msgspec.structs.fields(message)
    docs = attribute_docs(messages).get(message.__name__, {})
    if fields:
        yield table(
            ["field", "type", "meaning"],
            [[f"`{f.name}`", f"`{type_name(f.type)}`{default(f)}", one_line(docs.get(f.name, ""))] for f in fields],
        )


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# ---- what the code says of itself ------------------------------------------------------------------------------------


def all_messages() -> list[type[msgspec.Struct]]:
    """Every message and part of one, in the order of the source."""
    return [
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, messages.Message) and value is not messages.Message
    ]


def attribute_docs(module: types.ModuleType) -> dict[str, dict[str, str]]:
    """Docstrings that follow assignments: {class name, or "" for the module: {attribute: text}}."""
    tree = ast.parse(inspect.getsource(module))
    found = {"": following_docs(tree.body)}
    found.update({node.name: following_docs(node.body) for node in tree.body if isinstance(node, ast.ClassDef)})
    return found


def following_docs(body: list[ast.stmt]) -> dict[str, str]:
    """The string under each assignment of a body."""
    found: dict[str, str] = {}
    for before, after in itertools.pairwise(body):
        target = (
            before.target
            if isinstance(before, ast.AnnAssign)
            else before.targets[0]
            if isinstance(before, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = inspect.cleandoc(str(after.value.value))
    return found


def type_name(annotation: Any) -> str:
    """A type as the source writes it."""
    members = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return " | ".join(type_name(member) for member in members)
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(repr(member) for member in members)
    if not members:
        return "None" if annotation is type(None) else str(annotation.__name__)
    return f"{typing.get_origin(annotation).__name__}[{', '.join(type_name(member) for member in members)}]"


def default(field: msgspec.structs.FieldInfo) -> str:
    """How a field with a default says so."""
    if field.default is not msgspec.NODEFAULT:
        return f" = `{field.default!r}`"
    return "" if field.default_factory is msgspec.NODEFAULT else " = empty"


def link(message: type) -> str:
    """A link to a message's own part of the page."""
    return f"[{message.__name__}](#{message.__name__.lower()})"


def word(value: object) -> str:
    """A state or event as people read it."""
    return str(value.value if isinstance(value, enum.Enum) else value)


def one_line(text: str) -> str:
    """A docstring for a table's cell."""
    return " ".join(text.split())


def main(arguments: list[str] | None = None) -> int:
    """Write the page; with `--check` only say whether it is current (exit code 1 if not)."""
    return write_page("protocol_page", PAGE, protocol_page(), arguments)


def write_page(module: str, page: str, text: str, arguments: list[str] | None) -> int:
    """The command of a module that makes a page."""
    command = f"python -m twistcluster.testing.{module}"
    parser = argparse.ArgumentParser(prog=command, description=main.__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("page", nargs="?", type=Path, default=Path(page))
    options = parser.parse_args(arguments)
    if not options.check:
        options.page.write_text(text, encoding="utf-8")
    elif not options.page.exists() or options.page.read_text(encoding="utf-8") != text:
        print(f"{options.page} is not what the tables say. Run: {command}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
