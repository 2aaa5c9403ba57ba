"""A job's progress in words and numbers, as people read them.

Owns: the wording of counts, rates and durations. Pure. Must not know: where the words are shown.
"""

from twistcluster.client.views import Progress

__all__ = ["ENDED", "counts", "detail", "duration", "failures", "parts", "rate", "summary"]

ENDED = frozenset({"done", "failed", "cancelled"})


def duration(seconds: float) -> str:
    """As people say it: "0.8 s", "12 s", "2 min 5 s", "1 h 3 min"."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def rate(items_per_second: float) -> str:
    """Items a second: "3.1 items/s", "52,300 items/s"; slower than one a second by the minute."""
    if items_per_second <= 0:
        return ""
    if items_per_second < 1:
        return f"{items_per_second * 60:.1f} items/min"
    if items_per_second < 100:
        return f"{items_per_second:.1f} items/s"
    digits = len(str(int(items_per_second))) - 3
    return f"{int(round(items_per_second, -digits)):,} items/s"


def counts(progress: Progress) -> str:
    """ "87 of 240 done"; "87 done so far" while the input of a lazy job goes on."""
    if progress.count is None:
        return f"{progress.done:,} done so far"
    if progress.count == 0:
        return "no items"
    return f"{progress.done:,} of {progress.count:,} done"


def failures(progress: Progress) -> str:
    """ "1 failed, 3 cancelled", or nothing."""
    said = [(progress.failed, "failed"), (progress.cancelled, "cancelled")]
    return ", ".join(f"{number:,} {word}" for number, word in said if number)


def detail(progress: Progress) -> str:
    """While it runs: rate and time left. Afterwards: what it took."""
    if progress.state in ENDED:
        return duration(progress.elapsed)
    said = [rate(progress.rate)]
    if progress.seconds_left is not None and progress.rate > 0:
        said.append(f"{duration(progress.seconds_left)} left")
    elif progress.elapsed >= 1:
        said.append(f"{duration(progress.elapsed)} so far")
    return " · ".join(word for word in said if word)


def parts(progress: Progress) -> list[float] | None:
    """Fractions of a bar: done, failed, cancelled; None while nobody knows how long the job is."""
    if progress.count is None:
        return None
    if progress.count == 0:
        return [1.0, 0.0, 0.0]
    return [number / progress.count for number in (progress.done, progress.failed, progress.cancelled)]


def summary(label: str, progress: Progress) -> str:
    """One line: "make_thumb-3: 239 of 240 done, 1 failed, 12.3 s"."""
    ended = progress.state in ENDED
    said = [counts(progress), failures(progress), _took(progress.elapsed) if ended else detail(progress)]
    if not ended and progress.waiting:
        said.append(progress.waiting)
    return f"{label}: " + ", ".join(word for word in said if word)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
