"""Pictures for workers that don't see the client's files: bytes that travel, a queue that outlives its scheduler and workers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import twistcluster as tc
from tests.images.pictures import PHOTOS, encoded, photo
from tests.live.conftest import family, runs, stores_folder
from tests.tools import require, until
from twistcluster.images.plan import Plan
from twistcluster.images.steps import Grayscale, Resize

pytestmark = [pytest.mark.usefixtures("stores_gone"), pytest.mark.timeout(240)]

HIDING = 'mount -t tmpfs none "$0" && exec "$@"'
PICTURES = 1000


def blind(clusters, folder, *arguments, **variables):
    """A worker's process in a world of its own, where this folder is empty."""
    wrapped = [require("unshare"), "--mount", "--propagation", "private", "sh", "-c", HIDING, str(folder)]
    if subprocess.run([*wrapped, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces can't be made here: that takes root")
    code = "from twistcluster.cli.worker import main; main()"
    child = subprocess.Popen(
        [*wrapped, sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **variables},
    )
    clusters.children.append(child)
    return child


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(40):
        photo(i % len(PHOTOS)).crop((i, i, i + 200, i + 150)).save(root / f"{i:02d}.jpg")
    return root


def as_here(images, sources, *steps):
    plan = Plan(steps)
    for image, source in zip(images, sources, strict=True):
        here = plan.run(source)
        assert image.mode == here.mode and np.array_equal(np.asarray(image), np.asarray(here))


def test_paths_that_one_worker_sees_and_another_doesn_t(clusters, folder):
    clusters.scheduler("lab")
    clusters.worker("lab", 1, "--name", "sees")
    blind(clusters, folder, "--join", "lab", "--slots", "1", "--name", "blind")
    paths = [*map(str, sorted(folder.iterdir()))]
    with tc.connect("lab") as cluster:
        cluster.wait_for_workers(2, slots=2, timeout=60)
        where = cluster.map(lambda path: Path(path).exists(), paths * 3).results()
        assert {True, False} == set(where)
        pipeline = cluster.images(f"{folder}/*.jpg").resize(64).map(slowly)
        job = pipeline.run()
        as_here(job.results(), paths, Resize(64))
        assert job.state == "done" and not job.errors() and job.progress().done == 40
        sent = [each for each in cluster.jobs() if each.label.startswith("resize-map")]
        assert len(sent) == 2  # the second has those that the blind one took
        table = pipeline.table()
        assert table.column("source") == paths


def slowly(image):
    time.sleep(0.02)
    return image


def test_no_worker_sees_them_and_one_is_damaged(clusters, folder):
    clusters.scheduler("lab")
    blind(clusters, folder, "--join", "lab", "--slots", "2")
    (folder / "05.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    with tc.connect("lab") as cluster:
        cluster.wait_for_workers(1, slots=2, timeout=60)
        job = cluster.images(folder).resize(32).options(name="thumbs").run()
        found = job.results(errors="return")
        assert [index for index, each in enumerate(found) if isinstance(each, tc.PictureDamaged)] == [5]
        assert job.state == "failed" and [*job.errors()] == [5] and len(found) == 40
        assert "05.jpg" in str(found[5])
        # Run again, the failed one's bytes are sent again.
        photo(0).save(folder / "05.jpg")
        assert job.retry() == 1
        job.wait(60)
        table = cluster.images(folder).resize(32).save(folder.parent / "out", format="webp")
        assert table.column("made") == [True] * 40


def test_saved_while_some_turn_out_to_be_seen_by_no_worker(clusters, folder):
    clusters.scheduler("lab")
    blind(clusters, folder, "--join", "lab", "--slots", "1", "--name", "blind")
    with tc.connect("lab") as cluster:
        cluster.wait_for_workers(1, timeout=60)
        pipeline = cluster.images(f"{folder}/*.jpg").resize(64).options(errors="return")
        cluster.submit(time.sleep, 0.5)
        job = pipeline.run()
        assert not job.mended()  # nobody knows yet
        table = pipeline.save(folder.parent / "out")
        assert job.mended() and table.column("made") == [True] * 40


def test_cancelled_while_bytes_travel(clusters, folder):
    clusters.scheduler("lab")
    blind(clusters, folder, "--join", "lab", "--slots", "1")
    with tc.connect("lab") as cluster:
        cluster.wait_for_workers(1, slots=1, timeout=60)
        job = cluster.images(folder).map(lambda image: time.sleep(0.5)).run()
        until(lambda: job.progress().done, what="the first picture")
        job.cancel()
        assert job.wait(60) and job.state == "cancelled"
        until(lambda: all(each.state != "running" for each in cluster.jobs()), what="the end of the second job")


def sources():
    """1,000 files, no two alike; every twentieth is a large value."""
    made = []
    for i in range(PICTURES):
        tile = photo(i % len(PHOTOS)).crop((i % 97, i % 89, i % 97 + 120, i % 89 + 90))
        large = tile.resize((400, 300)) if i % 20 == 0 else tile
        made.append(encoded(large, "BMP" if i % 20 == 0 else "JPEG"))
    return made


@pytest.fixture
def stores():
    """For the workers' stores: nobody clears away those of one that is killed."""
    with stores_folder() as one, stores_folder() as other:
        yield one, other


def test_a_queue_that_outlives_its_scheduler_and_a_worker(clusters, tmp_path, folder, stores):
    def started():
        return clusters.scheduler("lab", "--listen", f"tls:127.0.0.1:{port[0]}")[0]

    port = [0]
    scheduler = started()
    given = sources()
    with tc.connect("lab") as cluster:
        job = cluster.images(given).resize(48).grayscale().options(name="queue").run()
        until(lambda: job.kept or cluster.job("queue").progress().count == PICTURES, what="the queue in the journal")
        until(lambda: kept(cluster), what="all of them in the journal")
        port[0] = int(re.search(r":(\d+)", cluster.invite().line.split("--join")[1])[1])
        scheduler.kill()
        scheduler.wait()
        started()
        until(lambda: "connected" in repr(cluster), what="the way back")
        token = cluster.invite(uses=2).token
        workers = [
            blind(
                clusters, folder, "--join", f"127.0.0.1:{port[0]}", "--slots", "1", "--name", f"w{n}",
                TWISTCLUSTER_TOKEN=token, TWISTCLUSTER_SHM=str(stores[n]), XDG_STATE_HOME=str(made(tmp_path / f"state{n}")),
            )
            for n in range(2)
        ]  # fmt: skip
        until(lambda: job.progress().done >= PICTURES // 5, what="a fifth of them")
        assert {worker.name for worker in cluster.workers()} == {"w0", "w1"}
        assert all(worker.serial for worker in cluster.workers())
        killed = family(workers[0].pid)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(runs, killed)), what="the end of a worker")
        assert job.progress().done < PICTURES
        arrived = [index for index, _ in job.as_completed()]
        assert sorted(arrived) == [*range(PICTURES)]
        as_here(job.results(), given, Resize(48), Grayscale())


def made(path):
    path.mkdir(mode=0o700)
    return path


def kept(cluster):
    (found,) = (each for each in cluster.jobs() if each.label == "queue")
    return found.count == PICTURES


def test_tried_again_after_all_were_mended(clusters, folder):
    clusters.scheduler("lab")
    blind(clusters, folder, "--join", "lab", "--slots", "1")
    (folder / "05.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    with tc.connect("lab") as cluster:
        cluster.wait_for_workers(1, slots=1, timeout=60)
        job = cluster.images(folder).resize(32).run()
        found = job.results(errors="return")
        assert sum(isinstance(each, tc.PictureDamaged) for each in found) == 1
        photo(0).save(folder / "05.jpg")
        assert job.retry() == 1
        assert [image.size for image in job.results()][5] == (32, 32) and job.state == "done"
