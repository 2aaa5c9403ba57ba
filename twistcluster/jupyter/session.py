"""What the magics of one notebook share: the current cluster, and the notebook's names.

Owns: which cluster a magic means, how variables are bound, and which names `everywhere` defined. Must not know: grammar,
how anything is shown.
"""

from collections.abc import Callable
from typing import Any

import IPython.display

from twistcluster.cluster import Cluster
from twistcluster.errors import ClusterUnreachable
from twistcluster.jupyter.texts import kind_of

__all__ = ["DEFAULT_NAME", "DEFAULT_VARIABLE", "Session"]

DEFAULT_NAME = "default"
"""What `%cluster start` starts."""
DEFAULT_VARIABLE = "cluster"


class Session:
    """One for each shell; it outlives `%reload_ext`.

    Args:
        names: the notebook's variables.
        cell: the number of the cell that runs.
    """

    def __init__(self, names: dict[str, Any], cell: Callable[[], int]) -> None:
        self.names = names
        self._cell = cell
        self.current: Cluster | None = None
        self.elsewhere: set[str] = set()
        """Names that cells of `%%cluster everywhere` assigned on the current cluster."""

    def cluster(self) -> Cluster:
        """The current cluster.

        Raises:
            ClusterUnreachable: if there is none.
        """
        if self.current is None:
            msg = (
                "this notebook uses no cluster yet.\nStart one: %cluster start     Or use one that runs: %cluster list"
            )
            raise ClusterUnreachable(msg)
        return self.current

    def use(self, cluster: Cluster) -> None:
        """From here on magics mean this one."""
        if cluster is not self.current:
            self.elsewhere.clear()
        self.current = cluster

    def leave(self) -> None:
        """There is no current cluster any more."""
        self.current = None
        self.elsewhere.clear()

    def bind(self, cluster: Cluster, variable: str | None) -> str:
        """Bind the cluster to a variable; returns the sentence that says so.

        Without a name it is `cluster`, and what somebody else put there stays.
        """
        name = variable or DEFAULT_VARIABLE
        if variable is None:
            held = self.names.get(name)
            if held is not None and not isinstance(held, Cluster):
                return (
                    f"The variable {name} holds {kind_of(held)} of yours and was left alone. "
                    "To have the cluster in another: %cluster start --as VAR"
                )
        self.names[name] = cluster
        return f"In Python it is the variable {name}."

    def shown(self, value: object) -> None:
        """The value is on show in this cell: as the cell's value it isn't shown a second time."""
        cell = self._cell()

        def display() -> None:
            if self._cell() != cell:
                vars(value).pop("_ipython_display_")
                IPython.display.display(value)  # type: ignore[no-untyped-call]

        vars(value)["_ipython_display_"] = display
