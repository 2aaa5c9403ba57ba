"""Servers: setting one up, asking it, seeing which there are.

Owns: what a program types for that. Must not know: how questions travel (opening.py), how they are answered.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from twistcluster.client.futures import Future
from twistcluster.client.links import Tie
from twistcluster.client.options import JobOptions
from twistcluster.client.quantities import check_text
from twistcluster.client.requests import answer_to
from twistcluster.client.tables import Servers
from twistcluster.wire.messages import ListServers, Unserve

__all__ = ["Serving", "serve"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Serving:
    """What a cluster can do with servers."""

    @property
    def _link(self) -> Tie:
        raise NotImplementedError

    def serve(self, name: str, fn: Function) -> Function:
        """Have a function live in the cluster, where it answers what is asked of `name`.

        It stays when this program ends; in a named cluster also when the scheduler dies, and it keeps the cluster from
        being idle. A server of that name that is there already is replaced; what it was asked before it answers still.

        Args:
            name: What `ask` finds it by: up to 200 characters.
            fn: Called with one argument, whatever was asked. `cluster.options(…).serve` sets what holds for its calls.
                If it has `most_at_once`, `prepare` and `together`, what several ask goes together in one call.

        Returns:
            The function.

        Raises:
            NotPicklable: it can't travel.
            TwistclusterError: the name is none, there are too many servers, or the journal can't be written.

        Example:
            >>> cluster.serve("greet", lambda who: f"Hello, {who}")                 # doctest: +SKIP
            >>> cluster.ask("greet", "you")                                         # doctest: +SKIP
            'Hello, you'
        """
        return serve(self._link, name, fn, JobOptions())

    def ask(self, name: str, value: Any, timeout: float | str | None = None) -> Any:
        """Ask a server, and wait for the answer. Neither its code nor what it imports need be here.

        Args:
            name: Of the server.
            value: What its function gets.
            timeout: Seconds, or "5s", after which the question is taken back.

        Raises:
            NotPicklable: the value can't travel.
            ServerNotFound: there is none of that name; it says which there are.
            TimeoutError: there was no answer in time.
            Exception: what the function raised, with its remote traceback as the cause.
        """
        __tracebackhide__ = True
        future = self.asking(name, value)
        try:
            return future.result(timeout)
        except TimeoutError:
            if not future.cancel():  # the function raised it, or the answer came at the last moment
                return future.result(timeout)
            raise TimeoutError(
                f"the server {name!r} didn't answer within timeout={timeout!r}; the question was taken back"
            ) from None

    def asking(self, name: str, value: Any) -> Future[Any]:
        """Ask a server; returns the future of the answer at once. Those of one moment travel together.

        Example:
            >>> answers = [cluster.asking("labels", photo) for photo in photos]     # doctest: +SKIP
            >>> [answer.result() for answer in answers]                             # doctest: +SKIP
        """
        if not check_text(name, "name"):
            raise ValueError("which server is asked? cluster.servers() lists those that there are")
        return self._link.opener.ask(name, value)

    def servers(self) -> Servers:
        """The servers that there are, by name."""
        answer, _ = answer_to(self._link.session.ask(ListServers()))
        return Servers(answer.servers or [])

    def unserve(self, name: str) -> None:
        """End a server. What it was asked before is answered still.

        Raises:
            ServerNotFound: there is none of that name.
        """
        answer_to(self._link.session.ask(Unserve(check_text(name, "name"))))


def serve(link: Tie, name: str, fn: Function, options: JobOptions) -> Function:
    """Set a server up, and wait until it is there."""
    if options.name:
        raise TypeError(f"the name of a server is what serve is called with: {name!r}; leave name={options.name!r} out")
    question, parts = link.opener.serve(check_text(name, "name"), fn, options)
    answer_to(link.session.ask(question, parts))
    return fn
