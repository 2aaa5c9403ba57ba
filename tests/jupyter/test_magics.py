"""The magics in a real kernel, on a real cluster."""

import time

import pytest

from tests.jupyter.kernel import Kernel
from tests.tools import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def kernel(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.do("%load_ext twistcluster")
        yield kernel
        kernel.run("%cluster stop --force")
    finally:
        kernel.close()


@pytest.fixture
def started(kernel):
    kernel.do("%cluster start -n 2")
    return kernel


def message(ran):
    assert not ran.ok
    text = ran.error.strip()
    assert len(text.splitlines()) <= 5, text
    assert "Traceback" not in text
    return text


def test_loading_starts_nothing_and_what_needs_a_cluster_says_how_to_start_one(kernel):
    assert "%cluster start" in message(kernel.run("%cluster status"))
    assert "You run no cluster" in kernel.do("%cluster list").stdout
    assert "%cluster submit" in kernel.do("%cluster help").stdout
    assert "--priority" in kernel.do("%cluster help submit").stdout
    assert "%cluster" in message(kernel.run("%cluster submit abs(-1)"))
    assert kernel.value("'twisted.internet.reactor' in __import__('sys').modules") == "False"


def test_start_binds_cluster_and_status_lists_it(started):
    assert started.value("type(cluster).__name__, cluster.name") == "('Cluster', 'default')"
    again = started.do("%cluster start").stdout
    assert "'default'" in again
    assert started.value("len(cluster.status().clients)") == "1"
    assert "default" in started.do("%cluster list").stdout
    assert "this machine" in started.do("%cluster status").stdout
    differs = message(started.run("%cluster start -n 1"))
    assert "slots=2" in differs and "%cluster connect default" in differs and "%cluster scale 1" in differs
    unknown = message(started.run("%cluster connect lab"))
    assert "no cluster named 'lab'" in unknown and "%cluster start --name lab" in unknown


def test_start_leaves_a_variable_alone_that_holds_something_else(kernel):
    kernel.do("cluster = [1]")
    said = kernel.do("%cluster start -n 1").stdout
    assert "holds a list" in said and "--as VAR" in said
    assert kernel.value("cluster") == "[1]"
    kernel.do("%cluster start --as mine")
    assert kernel.value("mine.name") == "'default'"


def test_submit_runs_on_a_worker_and_takes_values_along(started):
    started.do("import os\nk = 3\ndef f(s, x):\n    return sorted(s), x * k")
    started.do("fut = %cluster submit f({2, 1}, '{k} $k')")
    assert started.value("fut.result()") == repr(([1, 2], "{k} $k" * 3))
    started.do("%cluster submit --wait -o pid os.getpid()")
    assert started.value("pid.result() != os.getpid() and pid.done()") == "True"
    assert "pid" in started.value("list(k for k in globals() if k == 'pid')")


def test_submit_shows_its_future_live_and_once(started):
    ran = started.do("%cluster submit sum(range(10))")
    until(lambda: "1 of 1 done" in ran.shown, 20, "the view to show the end")
    until(lambda: " s: 45" in ran.shown, 20, "the view to show the result")
    assert "Future" not in ran.result
    assert "sum-1" in started.do("%cluster jobs").stdout


def test_a_missing_name_is_an_error_at_once_and_nothing_is_sent(started):
    started.do("paths = [1]")
    text = message(started.run("%cluster submit len(pathz)"))
    assert text.startswith("NameError") and "'paths'" in text
    assert "No jobs yet" in started.do("%cluster jobs").stdout


def test_items_that_are_none_are_an_error_in_words(started):
    text = message(started.run("%cluster map abs(x) for x in numbers"))
    assert text.startswith("NameError: name 'numbers' is not defined in this notebook")
    assert "an int has none" in message(started.run("%cluster map abs(x) for x in 5"))
    assert "No jobs yet" in started.do("%cluster jobs").stdout
    raised = started.run("%cluster map abs(x) for x in [1 / 0]").error
    assert "ZeroDivisionError" in raised and "twistcluster/jupyter" not in raised


def test_references_futures_and_jobs_are_used_by_name(started):
    started.do("import numpy as np\nref = cluster.put(np.arange(4))\nk = 1")
    started.do("f2 = cluster.submit(np.arange, 3)\nj = cluster.map(np.arange, [2, 3])")
    started.do("a = %cluster submit int(np.sum(ref)) + k\nb = %cluster submit int(f2.sum())")
    started.do("c = %cluster submit [int(q.sum()) for q in j]")
    assert started.value("a.result(), b.result(), c.result()") == "(7, 3, [1, 3])"
    started.do(
        "%%cluster submit -o d\ndef both():\n    return int(ref.sum() + f2.sum())\nj = [len(q) for q in j]\nboth(), j"
    )
    assert started.value("d.result()") == "(9, [2, 3])"
    started.do("m = %cluster map (y, int(ref[y] + f2[0]), len(j)) for y in [1, 2]")
    started.do("n = %cluster map int(ref[y]) for y in range(4) if y\no = %cluster map int(q[-1] + ref[-1]) for q in j")
    assert started.value("m.results(), n.results(), o.results()") == "([(1, 1, 2), (2, 2, 2)], [1, 2, 3], [4, 5])"
    assert "everywhere can't wait for ref" in message(started.run("%%cluster everywhere\ntable = ref"))


def test_names_are_looked_up_when_the_line_runs(started):
    started.do("import time\ngo = 1\nfut = %cluster submit (time.sleep(0.3), go)[1]\ngo = 2")
    assert started.value("fut.result()") == "1"


def test_a_magic_in_a_function_sees_its_variables(started):
    started.do("def run(inner):\n    fut = %cluster submit inner + 1\n    return fut.result()")
    assert started.value("run(41)") == "42"


def test_map_evaluates_items_here_and_the_body_there(started):
    started.do("import os\nseen = []\ndef items():\n    for x in range(6):\n        seen.append(x)\n        yield x")
    started.do("job = %cluster map (x * x, os.getpid()) for x in items() if x % 2")
    assert started.value("[r[0] for r in job.results()], seen") == "([1, 9, 25], [0, 1, 2, 3, 4, 5])"
    assert started.value("os.getpid() in {r[1] for r in job.results()}") == "False"
    started.do("%cluster map -o pairs --wait --name two a + b for a, b in zip('ab', 'cd')")
    assert started.value("pairs.name, pairs.results()") == "('two', ['ac', 'bd'])"


def test_a_cell_runs_on_a_worker_and_its_names_stay_there(started):
    started.do("base = 10\nresult = 'mine'")
    started.do("%%cluster submit -o fut\nimport os\nbase = base + 1\nresult = [base, os.getpid()]\nresult")
    assert started.value("fut.result()[0], fut.result()[1] != __import__('os').getpid()") == "(11, True)"
    assert started.value("base, result") == "(10, 'mine')"
    assert "Line 2" in message(started.run("%%cluster submit\n!ls"))


def test_a_remote_traceback_shows_the_cells_own_lines(started):
    started.do("%%cluster submit -o fut\nnothing = 0\n1 / nothing")
    text = started.run("fut.result()").error
    assert "1 / nothing" in text and "ZeroDivisionError" in text
    started.do("def inner(x):\n    return [][x]")
    started.do("fut = %cluster submit inner(5)")
    assert "return [][x]" in started.run("fut.result()").error


def test_an_items_error_is_shown_without_our_frames_and_without_those_of_last_time(started):
    started.do("def bad(x):\n    return 1 / x\njob = %cluster map bad(x) for x in [1, 0]")
    for code in ("job.results()", "job[1].result()", "list(job)", "dict(job.as_completed())"):
        text = started.run(code).error
        assert "return 1 / x" in text and f"----> 1 {code}" in text
        assert text.count("----> 1 ") == 1
        assert text.count("twistcluster/") <= 1, text


@pytest.mark.parametrize("waiting", ["job.results()", "await job", "job.show(wait=True)"])
def test_an_interrupt_is_shown_in_two_lines(started, tmp_path, waiting):
    gate = tmp_path / "gate"  # nothing is done before the interrupt came
    started.do("import os, time\ndef nap(gate):\n    while not os.path.exists(gate):\n        time.sleep(0.005)")
    started.do(f"job = cluster.map(nap, [{str(gate)!r}] * 3)")
    ran = started.begin(f"print('here', flush=True)\n{waiting}")
    until(lambda: "here" in ran.stdout, what="the cell to begin")
    time.sleep(0.3)  # from there into the wait
    started.interrupt()
    text = message(started.finish(ran))
    assert "the work goes on" in text and "cluster.job('nap-1') finds it" in text
    assert len(text.splitlines()) == 2
    gate.touch()
    assert started.value("job.wait(), job.state") == "(True, 'done')"


def test_everywhere_defines_names_for_what_runs_there(started):
    said = started.do(
        "%%cluster everywhere\nimport math\ndef model(x):\n    return math.floor(x) + offset\noffset = 100"
    ).stdout
    assert "2 slots" in said and "model" in said
    started.do("def use(x):\n    return model(x)")
    started.do("job = %cluster map use(x) + offset for x in [1.5, 2.5]")
    assert started.value("job.results()") == "[201, 202]"
    started.do("%cluster scale 3")
    started.do("job = %cluster map (use(x), __import__('time').sleep(0.1)) for x in range(9)")
    assert started.value("[r[0] for r in job.results()] == [100 + x for x in range(9)]") == "True"
    text = started.run("%%cluster everywhere\n1 / 0").error
    assert "ZeroDivisionError" in text and text.count("twistcluster/") <= 1


def test_jobs_are_found_and_handled_by_name(started):
    started.do("def half(x):\n    print('item', x)\n    return 1 / (x % 2)")
    started.do("job = %cluster map half(x) for x in range(4)")
    started.do("job.wait()")
    assert "failed" in started.do("%cluster jobs").stdout
    errors = started.do("%cluster errors half-1").stdout
    assert errors.count("ZeroDivisionError") == 2 and "%cluster retry half-1" in errors
    assert "item 3" in started.do("%cluster logs half-1").stdout
    assert started.do("%cluster logs half-1 2").stdout.strip() == "item 2"
    assert "2 items" in started.do("%cluster retry half-1").stdout
    ran = started.do("%cluster job half-1")
    until(lambda: "half-1" in ran.shown, 20, "the job to be shown")
    started.do("import time\nslow = %cluster map time.sleep(0.2) for x in range(200)")
    assert "sleep-1" in started.do("%cluster cancel sleep-1").stdout
    started.do("slow.wait(60)")
    assert started.value("slow.state") == "'cancelled'"
    assert "is over already (cancelled)" in started.do("%cluster cancel sleep-1").stdout
    assert "%cluster jobs" in message(started.run("%cluster job nope"))
    assert "Did you mean: %cluster errors half-1" in message(started.run("%cluster errors hafl-1"))


def test_a_time_limit_and_retries_of_a_line(started, tmp_path):
    log = tmp_path / "log"
    started.do("import time\nlate = %cluster submit --time-limit 300ms time.sleep(1000)")
    ran = started.run("late.result(30)")
    assert not ran.ok and "TaskTimeout" in ran.error and "time_limit is 0.3 s" in ran.error
    started.do(f"def work(x):\n    open({str(log)!r}, 'a').write('tried ')\n    return 1 / x")
    started.do("%cluster map --retries 2 --wait work(x) for x in [0]")
    assert log.read_text().split() == ["tried"] * 3


def test_restart_and_scale(started):
    assert "3 slots" in started.do("%cluster scale 3").stdout
    started.do("%cluster restart")
    started.do("cluster.wait_for_workers(1, slots=3, timeout=60)")
    assert "%cluster" in message(started.run("%cluster scale 0"))


def test_reloading_keeps_the_cluster_and_unloading_takes_the_magic_away(started):
    started.do("%reload_ext twistcluster")
    assert "'default'" in started.do("%cluster status").stdout
    started.do("%unload_ext twistcluster")
    assert "not found" in started.run("%cluster status").error
    assert started.complete("%cluster st")["matches"] != ["start", "status", "stop"]
    started.do("%load_ext twistcluster")
    assert "'default'" in started.do("%cluster status").stdout


def test_completion_gives_exactly_our_items(started):
    def matches(code):
        return started.complete(code)["matches"]

    assert matches("%cluster st") == ["start", "status", "stop"]
    assert matches("fut = %cluster submit --w") == ["--wait"]
    assert matches("%cluster connect ") == ["default"]
    started.do("paths = []\njob = %cluster map abs(x) for x in [1]")
    assert matches("%cluster cancel a") == ["abs-1"]
    assert "paths" in matches("%cluster map len(p) for p in pat")
    assert matches("%%cluster e") == ["everywhere"]


def test_magics_do_not_block(started):
    started.do("import time")
    started.do(
        "begun = time.monotonic()\njob = %cluster map time.sleep(20) for x in range(8)\ntook = time.monotonic() - begun"
    )
    assert started.value("took < 15 and not job.done()") == "True"
    started.do("job.cancel()\njob.wait(60)")


def test_stop_ends_it_for_everyone(started):
    assert "stopped" in started.do("%cluster stop").stdout
    assert "You run no cluster" in started.do("%cluster list").stdout
    assert "%cluster start" in message(started.run("%cluster status"))
