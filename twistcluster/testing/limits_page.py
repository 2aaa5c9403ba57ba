"""Writes docs/limits.md from wire/limits.py: `python -m twistcluster.testing.limits_page [--check]`.

Owns: which test holds each limit, and how the page is laid out. Must not know: who applies them.
"""

import sys
from collections.abc import Iterator
from typing import Final

from twistcluster.testing.protocol_page import attribute_docs, one_line, table, write_page
from twistcluster.wire import limits

__all__ = ["PAGE", "TESTS", "limits_page", "main"]

PAGE: Final = "docs/limits.md"

TESTS: Final = {
    "OPENING_FRAME_BYTES": "tests/live/test_hostile.py::test_before_hello",
    "OPENING_SECONDS": "tests/net/test_link.py::test_half_a_frame_and_then_nothing_is_cut_off_in_time",
    "FRAME_BYTES": "tests/live/test_hostile.py::test_after_welcome",
    "HEAD_BYTES": "tests/live/test_hostile.py::test_after_welcome",
    "BUFFERS_PER_FRAME": "tests/wire/test_frames.py::test_huge_lengths_are_refused_before_anything_is_allocated",
    "PREALLOCATE_BYTES": "tests/wire/test_frames.py::test_frames_survive_any_chunking",
    "ALLOCATED_LINK_BYTES": "tests/wire/test_frames.py::test_a_claim_within_the_limit_uses_memory_only_as_it_fills",
    "ALLOCATED_BYTES": "tests/live/test_floods.py::test_frames_that_come_a_byte_at_a_time_take_no_memory",
    "PAGE_ITEMS": "tests/client/test_packing.py::test_pages_are_bounded",
    "PAGE_BYTES": "tests/client/test_packing.py::test_pages_are_bounded",
    "MAKER_BYTES": "tests/storage/test_makers.py::test_what_a_killed_maker_told_nobody_of_is_removed_after_a_while",
    "STORED_BYTES": "tests/live/test_values.py::test_sizes",
    "PAGE_STORED_BYTES": "tests/client/test_references.py::test_a_shared_value_counts_once_for_a_page_and_others_close_it",
    "PULL_AHEAD_BYTES": "tests/client/test_packing.py::test_the_default_is_64_mib",
    "CONNECTIONS": "tests/live/test_floods.py::test_a_full_house_says_so_and_lets_in_who_comes_later",
    "UNWELCOMED_CONNECTIONS": "tests/live/test_floods.py::test_thousands_that_never_say_hello",
    "ACCEPTS_PER_TURN": "tests/net/test_limits.py::test_a_few_connections_are_taken_in_a_turn",
    "ACCEPT_PAUSE_SECONDS": "tests/live/test_floods.py::test_no_more_files",
    "MESSAGES_PER_READ": "tests/net/test_limits.py::test_a_flood_is_handled_in_order_and_in_parts",
    "HANDLING_SECONDS": "tests/net/test_limits.py::test_messages_that_take_long_wait_for_their_turns_however_few",
    "MESSAGES_PER_TURN": "tests/net/test_turn.py::test_links_that_are_behind_take_turns_and_a_turn_is_bounded",
    "QUEUED_MESSAGES": "tests/net/test_link.py::test_a_peer_that_asks_and_never_reads_is_cut_off",
    "QUEUED_BYTES": "tests/net/test_limits.py::test_a_client_that_asks_for_much_and_never_reads_is_cut_off_by_bytes",
    "RESULTS_HELD_BYTES": "tests/core/test_telling.py::test_at_the_limit_leasing_pauses_and_goes_on_when_results_are_fetched",
    "SLOTS": "tests/core/test_scheduler.py::test_a_worker_has_so_many_slots_and_no_more",
    "SERVERS": "tests/core/test_servers.py::test_there_are_so_many_and_no_more",
    "SERVER_NAME_CHARACTERS": "tests/core/test_servers.py::test_a_name_can_be_printed",
    "TOGETHER_ITEMS": "tests/nodes/test_slot_batches.py::test_what_a_batch_function_is",
    "OUTPUT_ITEM_BYTES": "tests/nodes/test_slot_output.py::test_bounds",
    "OUTPUT_JOB_BYTES": "tests/core/test_telling.py::test_what_items_print_is_bounded_for_a_job",
    "LOG_LINES_ALIKE": "tests/nodes/test_sparing.py::test_a_log_under_a_flood_stays_small_and_says_how_many_lines_it_left_out",
    "LOG_SECONDS": "tests/nodes/test_sparing.py::test_each_line_is_written_or_counted_once",
}
"""By limit: a file of the repository, and a test in it that fails without the limit."""

HEAD: Final = """\
<!-- Made by `python -m twistcluster.testing.limits_page`; edit wire/limits.py, not this page. -->
# Limits

A cluster listens on a socket that only its user can open, and for other machines only where it was told to
([security](security.md)). Those who may connect make mistakes, too, and others try: they send something
else, half of it, too much, or too often; they stop reading, or connect a thousand times. Each of these meets a limit.
At a limit the peer that reached it is slowed down, or told why and cut off; nobody else's work ends or waits for it.

All limits have their names in `twistcluster/wire/limits.py`.
"""

TAIL: Final = """\
`twistcluster bench --only hostile` makes 10,000 connections that are malformed, cut short or too long, 200 a second,
and shows how many times longer the slowest hundredth of round trips takes beside them.
"""


def limits_page() -> str:
    """The page, whole."""
    return f"{HEAD}\n{table(['limit', 'value', 'of what, and what happens at it', 'test'], [*rows()])}\n\n{TAIL}"


def rows() -> Iterator[list[str]]:
    """A row for each limit, in the order of the source."""
    for name, text in attribute_docs(limits)[""].items():
        path, test = TESTS[name].split("::")
        yield [f"`{name}`", quantity(name, getattr(limits, name)), one_line(text), f"`{path}`: `{test}`"]


def quantity(name: str, value: float) -> str:
    """A limit as people read it."""
    if not name.endswith("BYTES"):
        return f"{value:g} s" if name.endswith("SECONDS") else f"{value:,}"
    for unit, size in (("GiB", limits.GIB), ("MiB", limits.MIB), ("KiB", limits.KIB)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value} bytes"


def main(arguments: list[str] | None = None) -> int:
    """Write the page; with `--check` only say whether it is current (exit code 1 if not)."""
    return write_page("limits_page", PAGE, limits_page(), arguments)


if __name__ == "__main__":
    sys.exit(main())
