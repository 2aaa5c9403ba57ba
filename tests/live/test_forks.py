"""What a forked child may do with its parent's cluster."""

from tests.live.test_programs import run

PROGRAM = """
    import asyncio, concurrent.futures, os, signal, time, warnings, twistcluster as tc
    warnings.simplefilter("ignore")
    cluster = tc.Cluster(slots=1)
    squares = cluster.map(abs, [-1, -2])
    lazy = cluster.map(abs, (-x for x in range(3)))
    stored = cluster.map(bytes, [5_000_000])
    one, large = cluster.submit(abs, -3), cluster.submit(bytes, 5_000_000)
    tc.wait([squares, lazy, stored, one, large])
    naps = cluster.map(time.sleep, [0, 60])
    naps[0].result()
    slow = cluster.submit(time.sleep, 60)

    async def awaited(what):
        return await what

    def pooled():
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = pool.submit(time.sleep, 0.05)
            return len(tc.wait([future]).done), len([*tc.as_completed([future])])

    def tried(ask):
        try:
            return ask()
        except tc.TwistclusterError as error:
            return "forked" in str(error) and "subprocess" in str(error)

    pid = os.fork()
    if not pid:
        signal.alarm(20)  # ends a wait that has no end
        for ask in (ASKED):
            print(tried(ask), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print(len(cluster.jobs("abs-1")) == 1)
    cluster.shutdown(cancel_futures=True)
"""


def in_child(*asked):
    done = run(PROGRAM.replace("ASKED", "".join(f"lambda: ({each}), " for each in asked)))
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    *told, parent = done.stdout.splitlines()
    assert parent == "True"
    return dict(zip(asked, told, strict=False))


def test_what_is_not_done_is_a_clear_error_at_once():
    asked = [
        "cluster.submit(abs, -1)",
        "slow.result()",
        "slow.result(5)",
        "slow.exception()",
        "asyncio.run(awaited(slow))",
        "asyncio.run(awaited(naps))",
        "naps.wait()",
        "naps.wait(5)",
        "naps.results()",
        "list(naps)",
        "dict(naps.as_completed())",
        "naps[1].result()",
        "naps.show(wait=True)",
        "tc.wait([slow, one])",
        "tc.wait([naps], timeout=5)",
        "list(tc.as_completed([one, slow]))",
        "tc.gather([slow])",
        "cluster.status()",
        "cluster.jobs()",
        "cluster.job('nothing')",
    ]
    assert in_child(*asked) == dict.fromkeys(asked, "True")


def test_what_is_here_already_is_there_and_so_are_the_childs_own_threads():
    expected = {
        "one.result()": "3",
        "squares.results()": "[1, 2]",
        "list(squares)": "[1, 2]",
        "squares.wait()": "True",
        "dict(squares.as_completed())": "{0: 1, 1: 2}",
        "lazy.results(), list(lazy), lazy[2].result()": "([0, 1, 2], [0, 1, 2], 2)",
        "cluster.job('abs-1').results()": "[1, 2]",
        "len(large.result()), [len(each) for each in stored]": "(5000000, [5000000])",
        "asyncio.run(awaited(one)), asyncio.run(awaited(squares))": "(3, [1, 2])",
        "len(tc.wait([one, squares]).done), tc.gather([one, squares])": "(2, [3, [1, 2]])",
        "naps[0].result(), next(naps)": "(None, None)",
        "pooled()": "(1, 1)",
    }
    assert in_child(*expected) == expected
