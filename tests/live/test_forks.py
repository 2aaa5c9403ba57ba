"""What a forked child may do with its parent's cluster."""

from tests.live.test_programs import run


def test_a_forked_child_gets_a_clear_error():
    done = run("""
        import os, warnings, twistcluster as tc
        warnings.simplefilter("ignore")
        cluster = tc.Cluster(slots=1)
        cluster.submit(abs, -1).result()
        pid = os.fork()
        if not pid:
            try:
                cluster.submit(abs, -1)
            except tc.TwistclusterError as error:
                print("forked" in str(error), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(cluster.submit(abs, -2).result())
    """)
    assert done.stdout == "True\n2\n"
