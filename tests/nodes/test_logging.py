import os
import re

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twistcluster.nodes.logging import LINE_CHARACTERS, LineLog


def logged(observer, emit, namespace="twistcluster.test"):
    log = Logger(namespace=namespace, observer=observer)
    emit(log)


def test_a_line_has_time_level_event_and_fields(tmp_path):
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    log = LineLog(fd)
    fields = {"name": "lab one", "slots": 4, "empty": ""}
    logged(log, lambda to: to.emit(LogLevel.warn, "{event}", event="worker joined", fields=fields))
    logged(log, lambda to: to.debug("not written"))
    logged(log, lambda to: to.info("nor is this"), namespace="twisted.internet")
    os.close(fd)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning worker joined name='lab one' slots=4 empty=''", line
    )


def test_a_traceback_follows_indented_and_nobody_fills_the_disk(tmp_path):
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    log = LineLog(fd)
    try:
        raise KeyError("here")
    except KeyError:
        logged(log, lambda to: to.failure("it failed", Failure()))
    logged(log, lambda to: to.info("{text}", text="x\n" * 100_000))
    os.close(fd)
    lines = (tmp_path / "log").read_text().splitlines()
    assert "error it failed" in lines[0] and any("KeyError" in line for line in lines)
    assert all(line.startswith("    ") for line in lines[1:] if "info" not in line)
    assert (tmp_path / "log").stat().st_size < 8 * LINE_CHARACTERS


def test_a_full_disk_costs_lines_and_says_how_many(tmp_path):
    full = os.open("/dev/full", os.O_WRONLY)
    log = LineLog(full)
    for _ in range(3):
        logged(log, lambda to: to.info("hello"))
    assert log.dropped == 3
    os.close(full)
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    log._fd = fd
    logged(log, lambda to: to.info("there is room again"))
    os.close(fd)
    first, second = (tmp_path / "log").read_text().splitlines()
    assert "warning 3 lines of this log could not be written" in first
    assert "there is room again" in second
    assert log.dropped == 0
