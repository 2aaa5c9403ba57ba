"""What importing each part brings in, seen from a fresh process."""

import subprocess
import sys

import pytest

HEAVY = {
    "twisted",
    "crochet",
    "IPython",
    "ipykernel",
    "ipywidgets",
    "anywidget",
    "matplotlib",
    "numpy",
    "PIL",
    "msgspec",
    "cryptography",
    "OpenSSL",
    "onnxruntime",
    "skimage",
}
NOTEBOOK = {"IPython", "ipykernel", "ipywidgets", "anywidget", "matplotlib"}


def after_importing(*modules: str) -> tuple[set[str], int]:
    """Top-level names of the modules that are there afterwards, and the number of threads."""
    code = f"import sys, threading, {', '.join(modules)}\nprint(threading.active_count(), *sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    threads, *names = ran.stdout.split()
    return {name.partition(".")[0] for name in names}, int(threads)


def test_importing_twistcluster_starts_nothing_and_loads_nothing_heavy():
    loaded, threads = after_importing("twistcluster")
    assert not loaded & HEAVY
    assert threads == 1


@pytest.mark.parametrize("module", ["nodes.slot", "nodes.worker", "nodes.standalone", "nodes.scheduler", "nodes.local"])
def test_nodes_load_nothing_of_the_notebooks(module):
    loaded, _ = after_importing(f"twistcluster.{module}")
    assert not loaded & NOTEBOOK


def test_a_slot_starts_without_twisted_and_asyncio():
    loaded, _ = after_importing("twistcluster.nodes.slot")
    assert not loaded & {"twisted", "asyncio", "zope", "numpy"}


def test_the_public_names_come_when_they_are_asked_for():
    code = (
        "import twistcluster as tc\nfor name in tc.__all__: getattr(tc, name)\nassert set(tc.__all__) <= set(dir(tc))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
