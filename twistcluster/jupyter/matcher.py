"""`completion.py` for IPython's completer.

Owns: the matcher. Must not know: the grammar.
"""

from collections.abc import Callable, Iterable
from typing import cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from twistcluster.cluster import clusters
from twistcluster.errors import TwistclusterError
from twistcluster.jupyter.completion import Names, complete
from twistcluster.jupyter.session import Session

__all__ = ["Matcher", "make_matcher"]

Matcher = Callable[[CompletionContext], SimpleMatcherResult]

_version_two = cast(Callable[[Matcher], Matcher], context_matcher(identifier="twistcluster"))


def make_matcher(session: Session) -> Matcher:
    """A matcher of the second API: it gives exactly its own items, and none where a line isn't ours."""
    names = Names(
        clusters=lambda: _asked(lambda: [found.name for found in clusters() if found.name]),
        jobs=lambda: _asked(lambda: _job_names(session)),
        variables=lambda: session.names,
    )

    @_version_two
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        found = complete(context.text_until_cursor, context.cursor_line == 0, names)
        if found is None:
            return SimpleMatcherResult(completions=[])
        items = [SimpleCompletion(text=candidate.text, type=candidate.kind) for candidate in found.candidates]
        return SimpleMatcherResult(completions=items, matched_fragment=found.fragment, suppress=True)

    return matcher


def _job_names(session: Session) -> list[str]:
    return [] if session.current is None else list(dict.fromkeys(job.label for job in session.current.jobs()))


def _asked(question: Callable[[], Iterable[str]]) -> list[str]:
    # TAB has nowhere to show an error: a cluster that is gone has no names.
    try:
        return list(question())
    except TwistclusterError:
        return []
