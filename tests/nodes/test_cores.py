import os

import pytest

from twistcluster.nodes import cores


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A made-up /proc and /sys."""
    monkeypatch.setattr(cores, "_V2", tmp_path / "v2")
    monkeypatch.setattr(cores, "_V1", tmp_path / "v1")
    monkeypatch.setattr(cores, "_OWN", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def test_without_cgroups_it_is_what_affinity_allows(system, monkeypatch):
    assert cores.usable_cores() == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


@pytest.mark.parametrize(("quota", "usable"), [("max", 8), ("200000", 2), ("150000", 2), ("5000", 1), ("9900000", 8)])
def test_a_quota_of_the_second_version(system, quota, usable):
    system("cgroup", "0::/user/job\n")
    system("v2/user/job/cpu.max", f"{quota} 100000\n")
    assert cores.usable_cores() == usable


def test_a_quota_further_up_counts_too(system):
    system("cgroup", "0::/user/job\n")
    system("v2/user/job/cpu.max", "max 100000\n")
    system("v2/user/cpu.max", "300000 100000\n")
    system("v2/cpu.max", "nonsense")
    assert cores.usable_cores() == 3


def test_in_a_container_only_the_root_is_there(system):
    system("cgroup", "0::/docker/0123\n")
    system("v2/cpu.max", "400000 100000\n")
    assert cores.usable_cores() == 4


@pytest.mark.parametrize(("quota", "usable"), [("-1", 8), ("200000", 2)])
def test_a_quota_of_the_first_version(system, quota, usable):
    system("cgroup", "4:cpu,cpuacct:/docker/0123\n3:memory:/docker/0123\n")
    system("v1/docker/0123/cpu.cfs_quota_us", quota)
    system("v1/docker/0123/cpu.cfs_period_us", "100000")
    assert cores.usable_cores() == usable
