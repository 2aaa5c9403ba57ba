import itertools
import json
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


def test_json_is_one_object_a_line(tmp_path):
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    log = LineLog(fd, form="json")
    fields = {"name": "lab\none", "slots": 4, "share": 0.5, "store": None, "left": ["a"], "level": "ours wins"}
    logged(log, lambda to: to.emit(LogLevel.warn, "{event}", event="worker joined", fields=fields))
    try:
        raise KeyError("here")
    except KeyError:
        logged(log, lambda to: to.failure("it failed", Failure()))
    os.close(fd)
    first, second = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    at = first.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    told = {"level": "warning", "event": "worker joined", "name": "lab\none", "slots": 4, "share": 0.5, "left": "['a']"}
    assert first == {**told, "store": None}
    assert second["event"] == "it failed" and "KeyError: 'here'" in second["traceback"]


def test_a_full_disk_costs_lines_and_says_how_many(tmp_path):
    full = os.open("/dev/full", os.O_WRONLY)
    log = LineLog(full)
    for _ in range(3):
        logged(log, lambda to: to.info("hello"))
    assert log.dropped == 3
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    os.dup2(fd, full)
    logged(log, lambda to: to.info("there is room again"))
    os.close(fd)
    os.close(full)
    first, second = (tmp_path / "log").read_text().splitlines()
    assert "warning 3 lines of this log could not be written" in first
    assert "there is room again" in second
    assert log.dropped == 0


def test_a_pipe_that_nobody_reads_stops_nothing():
    reader, writer = os.pipe()
    log = LineLog(writer)
    for number in itertools.count():
        logged(log, lambda to, number=number: to.info(f"{number} {{text}}", text="x" * 1000))
        if log.dropped:
            break
    logged(log, lambda to: to.info("lost"))
    assert log.dropped == 2
    before = os.read(reader, 1 << 20)
    logged(log, lambda to: to.info("there is room again"))
    after = os.read(reader, 1 << 20)
    assert before.startswith(b"2") and b"2 lines of this log could not be written" in after
    assert all(line.startswith(b"2") for line in (before + after).splitlines())
    os.close(reader)
    os.close(writer)


def test_a_file_of_ours_does_not_grow_without_end(tmp_path):
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    log = LineLog(fd, limit_bytes=10_000)
    for number in range(100):
        logged(log, lambda to, number=number: to.info(f"{number} {{text}}", text="x" * 500))
    os.close(fd)
    lines = (tmp_path / "log").read_text().splitlines()
    assert (tmp_path / "log").stat().st_size <= 11_000
    assert "the log was begun anew at 10,000 bytes" in lines[0] and " 99 x" in lines[-1]
