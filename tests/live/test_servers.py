"""Servers in clusters of real processes: set up, asked by others, there again, ended."""

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

import twistcluster as tc
from tests.live.conftest import kill, runs
from tests.live.test_elsewhere import connect as connect_elsewhere
from tests.live.test_elsewhere import joined, no_token
from tests.live.test_elsewhere import lab as elsewhere
from tests.live.work import Company, Deadly, double, wait_for
from tests.tools import until
from twistcluster.client.launch import find
from twistcluster.client.links import Tie

__all__ = ["elsewhere", "no_token"]

pytestmark = pytest.mark.usefixtures("stores_gone")


@contextlib.contextmanager
def closing(cluster):
    try:
        yield cluster
    finally:
        cluster.stop(force=True)
        cluster.close()


@contextlib.contextmanager
def clients(count):
    """Clients of their own, in this process."""
    ties = [Tie(find("lab"), "") for _ in range(count)]
    for tie in ties:
        tie.session.connect()
    try:
        yield ties
    finally:
        for tie in ties:
            tie.let_go("the test is over", when_idle=False)


def program(code):
    """Another program that has the cluster; what it prints."""
    begin = "import twistcluster as tc\ncluster = tc.connect('lab')\n"
    ran = subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=60, check=True, cwd="/"
    )
    return ran.stdout


def command(*arguments, stdin=b""):
    """What a command of the shell prints, and its exit code."""
    code = "from twistcluster.cli.main import main; main()"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return (ran.stdout + ran.stderr).decode(), ran.returncode


def test_what_one_client_serves_another_asks(lab):
    with closing(lab.connect()) as cluster:
        local = 5
        assert cluster.serve("plus", served := lambda x: x + local) is served
        assert cluster.ask("plus", 1) == 6
        assert program("print(cluster.ask('plus', 37), cluster.asking('plus', 2).result())") == "42 7\n"
        with pytest.raises(TypeError) as caught:
            cluster.ask("plus", "x")
        assert "served := lambda" in str(caught.value.__cause__)  # the remote traceback
        (server,) = cluster.servers()
        assert (server.name, server.asked) == ("plus", 4)
        assert "plus" in repr(cluster.servers())
        cluster.unserve("plus")
        with pytest.raises(tc.ServerNotFound, match=r"No server 'plus' is here\. There is none\. cluster.serve"):
            cluster.ask("plus", 1)
        with pytest.raises(tc.ServerNotFound):
            cluster.unserve("plus")


def test_eight_clients_that_ask_at_once_go_together(lab):
    answers = []

    def asks(tie):
        answers.extend(tie.opener.ask("company", number).result(60) for number in range(20))

    with closing(lab.connect()) as cluster, clients(8) as ties:
        cluster.serve("company", Company())
        threads = [threading.Thread(target=asks, args=(tie,)) for tie in ties]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(item for item, _ in answers) == sorted([*range(20)] * 8)
    mean = sum(size for _, size in answers) / len(answers)
    assert mean > 2.0, answers  # eight clients, two slots


def test_a_question_that_cant_be_prepared_harms_no_other(lab):
    with closing(lab.connect()) as cluster:
        cluster.serve("company", Company())
        answers = [cluster.asking("company", item) for item in [*range(20), "bad", *range(20, 40)]]
        with pytest.raises(ValueError, match="it can't be opened"):
            answers[20].result()
        assert [answer.result()[0] for answer in answers[:20] + answers[21:]] == [*range(40)]


def test_one_that_ends_its_slot_harms_no_other(lab):
    with closing(lab.connect()) as cluster:
        cluster.serve("deadly", Deadly())
        answers = [cluster.asking("deadly", number) for number in range(40)]
        found = cluster.map(Deadly(), list(range(40))).results(errors="return")
        with pytest.raises(tc.WorkerCrashed, match="3 times"):
            answers.pop(13).result()
        assert isinstance(found.pop(13), tc.WorkerCrashed)
        expected = [-number for number in range(40) if number != 13]
        assert [answer.result() for answer in answers] == found == expected


def test_a_server_outlives_its_client_and_a_scheduler_that_is_killed(lab):
    cluster = lab.connect()
    program("helper = 7\ncluster.serve('times', lambda x: x * helper)\ncluster.options(retries=1).serve('neg', abs)")
    assert cluster.ask("times", 6) == 42
    lab.kill(cluster)
    with closing(lab.connect()) as cluster:
        assert [server.name for server in cluster.servers()] == ["neg", "times"]
        assert cluster.ask("times", 6) == 42
        assert program("print(cluster.ask('neg', -1))") == "1\n"


def test_classes_of_who_serves_reach_who_asks(lab):
    """The answer's class is known to the program that serves only, which has left."""
    with closing(lab.connect()):
        program(
            "class Answer:\n    def __init__(self, x): self.x = x\n    def __repr__(self): return f'Answer({self.x})'\n"
            "cluster.serve('wrap', lambda x: Answer(x))"
        )
        assert program("print(cluster.ask('wrap', 3))") == "Answer(3)\n"


def test_another_takes_its_place_while_it_is_asked(lab, tmp_path):
    with closing(lab.connect()) as cluster:
        cluster.serve("which", wait_for)
        before = cluster.asking("which", str(tmp_path / "go"))
        until(lambda: cluster.jobs()[0].running)
        cluster.serve("which", double)
        assert cluster.ask("which", 4, timeout=30) == 8
        cluster.unserve("which")
        (tmp_path / "go").touch()
        assert before.result(30) == str(tmp_path / "go")


def test_a_question_is_taken_back(lab, tmp_path):
    with closing(lab.connect()) as cluster:
        cluster.serve("wait", wait_for)
        held = [cluster.asking("wait", str(tmp_path / "go")) for _ in range(2)]
        until(lambda: cluster.jobs()[0].running == 2)
        pending = cluster.asking("wait", "nowhere")
        assert pending.cancel()
        with pytest.raises(
            TimeoutError, match=r"'wait' didn't answer within timeout=0.1; the question was taken back$"
        ):
            cluster.ask("wait", str(tmp_path / "never"), timeout=0.1)
        until(lambda: sum(job.cancelled for job in cluster.jobs()) == 2 or len(cluster.jobs()) == 1)
        (tmp_path / "go").touch()
        assert [future.result(30) for future in held] == [str(tmp_path / "go")] * 2


def test_a_timeout_that_the_function_raised_is_its_own(lab):
    def slow_disk(_value):
        raise TimeoutError("the disk is slow")

    with closing(lab.connect()) as cluster:
        cluster.serve("slow", slow_disk)
        with pytest.raises(TimeoutError, match="^the disk is slow$"):
            cluster.ask("slow", 1, timeout=60)


def test_questions_go_on_when_the_scheduler_is_killed(clusters, tmp_path):
    """The client that asks finds the cluster again."""
    pid = clusters.local(slots=1).connection.pid
    with closing(tc.connect("lab")) as cluster:
        cluster.serve("wait", wait_for)
        answers = [cluster.asking("wait", str(tmp_path / "go")) for _ in range(3)]
        until(lambda: cluster.jobs()[0].running)
        kill(pid)
        (tmp_path / "go").touch()
        assert [answer.result(60) for answer in answers] == [str(tmp_path / "go")] * 3
        assert cluster.ask("wait", str(tmp_path / "go")) == str(tmp_path / "go")
        clusters.pids.append(cluster.status().pid)


def test_a_cluster_with_a_server_is_not_idle(clusters):
    pid = clusters.local(slots=1, idle_timeout=1.0).connection.pid
    cluster = tc.connect("lab")
    cluster.serve("double", double)
    cluster.close()
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 3.0, what="three times its idle_timeout")
    cluster = tc.connect("lab")
    assert cluster.ask("double", 2) == 4
    cluster.unserve("double")
    cluster.close()
    until(lambda: not runs(pid), what="the end of an idle cluster")


def test_in_a_cluster_of_ones_own():
    with tc.Cluster(slots=1) as cluster:
        cluster.options(time_limit=0.2).serve("wait", wait_for)
        with pytest.raises(tc.TaskTimeout):
            cluster.ask("wait", "/nowhere")
        with pytest.raises(TypeError, match="leave name='x' out"):
            cluster.options(name="x").serve("wait", wait_for)
        with pytest.raises(tc.TwistclusterError, match="can be printed"):
            cluster.serve("a\nb", double)
        with pytest.raises(ValueError, match="which server"):
            cluster.ask("", 1)
        with pytest.raises(TypeError, match="a text"):
            cluster.ask(3, 1)
        with pytest.raises(tc.NotPicklable):
            cluster.ask("wait", threading.Lock())
        assert repr(cluster.servers()).splitlines()[1].startswith("wait")
        large = cluster.put(bytes(200_000))
        cluster.serve("len", len)
        assert cluster.ask("len", large) == cluster.ask("len", bytes(200_000)) == 200_000
        assert cluster.asking("len", "abc").name == "len-3"


def test_from_another_machine(elsewhere, clusters, monkeypatch):
    worker = joined(elsewhere, clusters)
    cluster = connect_elsewhere(elsewhere, monkeypatch)
    cluster.serve("company", Company())
    assert cluster.ask("company", bytes(200_000), timeout=60)[0] == bytes(200_000)
    with pytest.raises(tc.ServerNotFound, match="'company'"):
        cluster.ask("other", 1, timeout=60)
    cluster.stop(force=True)
    assert worker.wait(60) == 0


# ---- the shell ------------------------------------------------------------------------------------------------------


def test_the_command(clusters, tmp_path):
    clusters.local(slots=1)
    file = Path(tmp_path, "photo.jpg")
    file.write_bytes(b"\xff\xd8 picture")
    with closing(tc.connect("lab")) as cluster:
        cluster.serve("len", len)
        cluster.serve("text", lambda data: data.decode("latin-1"))
        cluster.serve("none", lambda data: {1, 2} and object)
        assert command("ask", "len", str(file)) == ("10\n", 0)
        assert command("ask", "len", "-", "--cluster", "lab", "--json", stdin=b"abc") == ("3\n", 0)
        assert command("ask", "text", "-", stdin=b"abc") == ("abc\n", 0)
        text, code = command("ask", "none", "-", "--json")
        assert code == 1 and "can't be said in JSON" in text and "Traceback" not in text
        text, code = command("ask", "labels", str(file))
        assert code == 1 and "Those that are: 'len', 'none', 'text'" in text and "Traceback" not in text
        text, code = command("ask", "len", str(tmp_path / "missing"))
        assert code == 1 and "missing" in text and "Traceback" not in text
        cluster.serve("fail", lambda data: data + 1)
        text, code = command("ask", "fail", "-", stdin=b"/nowhere")
        assert code == 1 and "lambda data: data + 1" in text and "twistcluster/cli" not in text, text
        cluster.serve("wait", lambda data: wait_for("/nowhere"))
        text, code = command("ask", "wait", "-", "--timeout", "0.2", stdin=b"/nowhere")
        assert code == 1 and "Traceback" not in text and "the question was taken back" in text, text
        assert "goes on" not in text


def test_the_command_with_pictures(clusters, tmp_path):
    clusters.local(slots=1)
    file, small = Path(tmp_path, "photo.png"), Path(tmp_path, "small.png")
    Image.new("RGB", (40, 20), "red").save(file)
    with closing(tc.connect("lab")) as cluster:
        cluster.images(str(file)).resize(8).serve("small")
        for more in ([], ["--json"]):
            text, code = command("ask", "small", str(file), *more)
            assert code == 1 and "a picture (RGB, 8 x 4 pixels)" in text and "-o small.png" in text, text
        assert command("ask", "small", str(file), "-o", str(small)) == (f"{small}\n", 0)
        with Image.open(small) as made:
            assert (made.format, made.size) == ("PNG", (8, 4))
        text, code = command("ask", "small", str(file), "-o", str(small))
        assert code == 2 and "--overwrite" in text, text
        assert command("ask", "small", str(file), "-o", str(small), "--overwrite") == (f"{small}\n", 0)
        text, code = command("ask", "small", "-", stdin=b"no picture")
        assert code == 1 and "the picture can't be opened" in text and text.count("\n") == 1, text
