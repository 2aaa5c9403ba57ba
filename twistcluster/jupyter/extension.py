"""What `%load_ext twistcluster` does, and undoes.

Owns: the registering of magic, completion and display with IPython. Must not know: what they do.
"""

from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import InteractiveShell

from twistcluster.jupyter.magics import ClusterMagics
from twistcluster.jupyter.matcher import Matcher, make_matcher
from twistcluster.jupyter.session import Session

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_sessions: WeakKeyDictionary[InteractiveShell, Session] = WeakKeyDictionary()
"""They outlive `%reload_ext`: the notebook keeps its cluster."""
_matchers: WeakKeyDictionary[InteractiveShell, Matcher] = WeakKeyDictionary()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register everything; a second time changes nothing."""
    unload_ipython_extension(shell)
    session = _sessions.setdefault(shell, Session(shell.user_ns, lambda: shell.execution_count))
    shell.register_magics(ClusterMagics(shell, session))
    if shell.Completer is not None:
        _matchers[shell] = make_matcher(session)
        shell.Completer.custom_matchers.append(_matchers[shell])


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take everything away again. Clusters and jobs go on, and so do the variables that hold them."""
    for kind in ("line", "cell"):
        if isinstance(getattr(shell.magics_manager.magics[kind].get("cluster"), "__self__", None), ClusterMagics):
            del shell.magics_manager.magics[kind]["cluster"]
    shell.magics_manager.registry.pop(ClusterMagics.__name__, None)
    matcher = _matchers.pop(shell, None)
    if matcher is not None and matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(matcher)
