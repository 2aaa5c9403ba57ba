"""The commands of `%cluster` and `%%cluster` that send something: submit, map, everywhere.

Owns: how a typed expression or cell becomes a job, and what is shown of it. Must not know: how it was parsed, or how
errors are shown.

A submitted expression is a job of one item, so that `%cluster jobs`, `cancel`, `errors` and the rest find it by its name.
"""

import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Final

from twistcluster.client.futures import Future
from twistcluster.cluster import ClusterOptions, Job
from twistcluster.jupyter.capture import Call, capture, missing
from twistcluster.jupyter.cells import parse_everywhere_cell, parse_submit_cell
from twistcluster.jupyter.code import Code
from twistcluster.jupyter.expressions import parse_map, parse_submit
from twistcluster.jupyter.grammar import COMMANDS, GrammarError, Request
from twistcluster.jupyter.session import Session
from twistcluster.jupyter.texts import count_of, kind_of

__all__ = ["CELL_WORK", "LINE_WORK", "Typed", "Work"]


LISTED: Final = 1_000_000
"""Items of a map whose number is looked at, though another argument goes with each."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed, and the names that it may use."""

    options_line: str
    """What follows the command in a cell's first line."""
    cell: str
    names: dict[str, Any]


Work = Callable[[Session, Request, Typed], object]


def _submit(session: Session, request: Request, typed: Typed) -> Future[Any]:
    return _send(session, request, parse_submit(request.rest), typed)


def _submit_cell(session: Session, request: Request, typed: Typed) -> Future[Any]:
    return _send(session, request, parse_submit_cell(typed.options_line, typed.cell), typed)


def _send(session: Session, request: Request, code: Code, typed: Typed) -> Future[Any]:
    call = capture(code, typed.names, session.elsewhere)
    job = _options(session, request).map(call.function, *([value] for value in call.arguments))
    future = job[0]
    _out(session, request, future)
    job.show(wait=request.has("wait"))
    session.shown(future)
    return future


def _map(session: Session, request: Request, typed: Typed) -> Job[Any]:
    __tracebackhide__ = True
    line = parse_map(request.rest)
    body = capture(line.body, typed.names, session.elsewhere)
    wanted = capture(line.condition, typed.names, passes=False).function if line.condition else None
    options = _options(session, request)
    items = _filtered(_items(line.items, typed.names), wanted)
    job = options.map(body.function, items, *(_for_each(items, value) for value in body.arguments))
    _out(session, request, job)
    if request.has("wait"):
        job.show(wait=True)
        session.shown(job)
    return job


def _items(code: types.CodeType, names: dict[str, Any]) -> Iterable[Any]:
    """The value of the user's own expression, in the user's own names."""
    __tracebackhide__ = True
    try:
        items: Iterable[Any] = eval(code, names)  # noqa: S307
    except NameError as error:
        # One that a function of the user's raises is for its traceback to tell.
        within = error.__traceback__ and error.__traceback__.tb_next
        if not error.name or (within and within.tb_next):
            raise
        raise missing(error.name, names) from None
    try:
        iter(items)
    except TypeError:
        what = f"map wants items after `in`, such as a list; {kind_of(items)} has none."
        raise GrammarError(f"{what}\nFor example: {COMMANDS['map'].example}") from None
    return items


def _for_each(items: Iterable[Any], value: object) -> Iterable[Any]:
    """The same argument for each of these; it has a length where a list of it is no burden."""
    if isinstance(items, Sized) and not isinstance(items, Job) and len(items) <= LISTED:
        return [value] * len(items)
    return itertools.repeat(value)


def _filtered(items: Iterable[Any], wanted: Callable[[Any], Any] | None) -> Iterable[Any]:
    """The items that the conditions let through; their number is known at once where that of the items is."""
    if wanted is None:
        return items
    kept = filter(wanted, items)
    return list(kept) if isinstance(items, Sized) else kept


def _everywhere(session: Session, request: Request, typed: Typed) -> None:
    __tracebackhide__ = True
    code = parse_everywhere_cell(typed.options_line, typed.cell)
    call: Call = capture(code, typed.names, session.elsewhere)
    slots = session.cluster().everywhere(call.function)
    session.elsewhere |= code.assigns
    names = ", ".join(sorted(code.assigns))
    what = f"Functions that run there find {names}." if names else "It assigned no names."
    print(f"Ran in {count_of(len(slots), 'slot')}, and will in each new one. {what}")  # noqa: T201 (a magic prints)


def _options(session: Session, request: Request) -> ClusterOptions:
    return session.cluster().options(
        name=request.text("name") or "",
        priority=request.number("priority") or 0,
        retries=request.number("retries") or 0,
        time_limit=request.text("time-limit"),
    )


def _out(session: Session, request: Request, value: object) -> None:
    name = request.text("out")
    if name:
        session.names[name] = value


LINE_WORK: Mapping[str, Work] = {"submit": _submit, "map": _map}
CELL_WORK: Mapping[str, Work] = {"submit": _submit_cell, "everywhere": _everywhere}
