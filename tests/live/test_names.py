"""What a name finds, where several programs use one cluster."""

import twistcluster as tc
from tests.live.test_programs import run

SENDER = """
    import sys, twistcluster as tc
    with tc.connect("lab") as cluster:
        print(cluster.options(name="mine").map(abs, [int(x) for x in sys.argv[1:]]).id)
"""


def test_a_name_that_is_given_again_means_the_newer_job():
    cluster = tc.Cluster(name="lab", slots=1)
    try:
        old_id = run(SENDER, "-1").stdout.strip()
        old = cluster.job("mine")
        assert old.results() == [1]
        assert cluster.job("mine")._record is old._record  # no second copy
        run(SENDER, "-2", "-3")
        new = cluster.job("mine")
        assert new.results() == [2, 3] and new.id == cluster.jobs("mine")[0].id
        assert cluster.job("mine")._record is new._record
        assert cluster.job(old_id)._record is old._record and old.results() == [1]
        own = cluster.options(name="mine").map(abs, [-4])
        run(SENDER, "-5")
        assert cluster.job("mine").id == own.id and own.results() == [4]
    finally:
        cluster.stop(force=True)
