"""`%cluster` and `%%cluster`: a line or a cell comes in, is parsed and carried out; errors are shown in words.

Owns: what IPython must know of the magic. A line is never expanded (`{1, 2}` and `$x` stay as typed). Must not know: what
the commands do.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from twistcluster.errors import TwistclusterError
from twistcluster.jupyter.capture import MissingName
from twistcluster.jupyter.commands import ACTIONS
from twistcluster.jupyter.grammar import GrammarError, help_text, parse_cell, parse_line
from twistcluster.jupyter.session import Session
from twistcluster.jupyter.work import CELL_WORK, LINE_WORK, Typed

__all__ = ["ClusterMagics", "in_words"]

E = TypeVar("E", bound=BaseException)


@magics_class
class ClusterMagics(Magics):
    """The magic of one shell."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell)
        self.session = session

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def cluster(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> object:
        """Clusters and jobs from a cell: `%cluster help` lists the commands."""
        # IPython leaves such frames out of a traceback: an error of the user's own is at its first and last line.
        __tracebackhide__ = True
        try:
            return self._carry_out(line, cell, local_ns)
        except GrammarError as error:
            raise UsageError(str(error)) from None
        except (TwistclusterError, MissingName) as error:
            raise in_words(error) from None

    def _carry_out(self, line: str, cell: str | None, local_ns: Mapping[str, Any] | None) -> object:
        __tracebackhide__ = True
        request = parse_line(line) if cell is None else parse_cell(line)
        name = request.command.name
        if cell is None and name in ACTIONS:
            return ACTIONS[name](self.session, request)
        names = self.session.names
        if local_ns is not None and local_ns is not names:
            names = {**names, **local_ns}
        work = LINE_WORK if cell is None else CELL_WORK
        return work[name](self.session, request, Typed(line, cell or "", names))


ClusterMagics.cluster.__doc__ = help_text()


def in_words(error: E) -> E:
    """Have IPython show the error's own words only: they say what to do, and a traceback would hide them."""
    kind = "NameError" if isinstance(error, MissingName) else type(error).__name__
    vars(error)["_render_traceback_"] = f"{kind}: {error}".splitlines
    return error
