"""`everywhere` and `upload`: what is the same in every slot.

Owns: their requests, and what becomes of a step that fails. Must not know: how a slot runs one.
"""

import reprlib
from collections.abc import Callable
from functools import partial
from typing import Any

from twistcluster.client.calls import function_name
from twistcluster.client.links import Tie
from twistcluster.client.outbox import Parts
from twistcluster.client.requests import Step, answer_to
from twistcluster.client.results import ItemFailure
from twistcluster.wire.messages import Everywhere
from twistcluster.wire.values import loads

__all__ = ["run_everywhere"]


def run_everywhere(link: Tie, function: Callable[[], Any], *, once: bool) -> list[Any]:
    """Run a function in every slot now; unless `once`, in each new slot too, before its first item.

    Returns one result a slot. If it raises in one, the first error is raised, and new slots don't run it.
    """
    __tracebackhide__ = True
    if type(once) is not bool:
        raise TypeError(f"once is True or False, not {reprlib.repr(once)}")
    session = link.session
    digest, blob = link.opener.step(function)
    if not once:
        link.contexts.add_step(digest, blob)
    try:
        context, blobs = link.contexts.current()
        parts = Parts(context, blobs)
        parts.blobs[digest] = blob
        _, steps = answer_to(session.ask(Everywhere(context.digest, digest, once), parts))
        return [*map(partial(_result, link, function_name(function)), steps)]
    except BaseException:
        if not once:
            link.contexts.remove_step(digest)
        raise


def _result(link: Tie, name: str, step: Step) -> Any:
    __tracebackhide__ = True
    definitions = link.session.definitions
    if step.error is not None:
        raise ItemFailure(0, step.error, step.buffers, definitions, f"{name} in {step.slot}").exception()
    return loads(step.buffers[0], step.buffers[1:], definitions) if step.buffers else None
