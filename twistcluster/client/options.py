"""What `cluster.options(…)` sets for the jobs that are sent through it.

Owns: the options, their usual values, and what is said of values that make no sense. Must not know: how jobs are opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from twistcluster.client.quantities import check_text, count, seconds

__all__ = ["OPTIONS", "JobOptions"]

OPTIONS: Final = ("priority", "resources", "name", "retries", "time_limit", "max_crashes")
PRIORITY_AT_MOST: Final = 2**31
COUNT_AT_MOST: Final = 1_000_000
"""Of retries and crashes: more would be a slip of the finger."""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What `cluster.options(…)` sets."""

    priority: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    name: str = ""
    retries: int = 0
    time_limit: float = 0.0
    """Seconds; 0: any."""
    max_crashes: int = 3

    @classmethod
    def of(
        cls,
        priority: Any = 0,
        resources: Any = None,
        name: Any = "",
        retries: Any = 0,
        time_limit: Any = None,
        max_crashes: Any = 3,
    ) -> "JobOptions":
        """These, checked: they come from whoever typed them."""
        count(priority, "priority", least=-PRIORITY_AT_MOST, most=PRIORITY_AT_MOST)
        count(retries, "retries", most=COUNT_AT_MOST)
        count(max_crashes, "max_crashes", least=1, most=COUNT_AT_MOST)
        limit_s = 0.0 if time_limit is None else seconds(time_limit, "time_limit")
        if time_limit is not None and limit_s <= 0:
            raise ValueError(
                f'time_limit is how long an item may run, like 30 or "5m"; {time_limit!r} leaves it no time'
            )
        check_text(name, "name")
        if resources is not None and not isinstance(resources, Mapping):
            raise TypeError(f'resources are names and amounts, like {{"gpu": 1}}, not {resources!r}')
        amounts: dict[Any, Any] = dict(resources or {})
        for what, amount in amounts.items():
            if not isinstance(what, str) or type(amount) not in {int, float} or amount < 0:
                raise TypeError(f'resources are names and amounts, like {{"gpu": 1}}; {what!r}: {amount!r} isn\'t')
        needs = {what: float(amount) for what, amount in amounts.items()}
        return cls(priority, needs, name, retries, limit_s, max_crashes)

    def changed(self) -> dict[str, Any]:
        """Those that aren't as they are unless set."""
        usual = JobOptions()
        return {name: getattr(self, name) for name in OPTIONS if getattr(self, name) != getattr(usual, name)}
