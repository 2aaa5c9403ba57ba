"""What is shown and not saved: `%cluster invite` in a real kernel, and where nobody looks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.jupyter.kernel import Kernel
from tests.jupyter.test_views_kernel import WIDGET, FrontEnd, until

ROOT = Path(__file__).parent.parent.parent
LOADED = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from types import SimpleNamespace
from twistcluster.client.invitations import Invitation
from twistcluster.jupyter import magics
from twistcluster.net.token import Token
from twistcluster.wire.messages import Invited

class Cluster:
    name = "lab"
    def invite(self, role, uses, expires):
        self.asked = role, uses, expires
        invited = Invited(bytes(32), ["box:8930", "192.0.2.7:8930"], time.time() + LEFT)
        return Invitation(Token(bytes(32), b"eighteen bytes of."), invited, role, uses, "lab")

lab = Cluster()
get_ipython().register_magics(magics.ClusterMagics(get_ipython(), SimpleNamespace(cluster=lambda: lab, names={{}})))
"""


def loaded(left):
    """A cluster's double, whose tokens are good for so many seconds."""
    return LOADED.replace("LEFT", str(left))


TOKEN = "tc1_" + "0" * 20


@pytest.fixture
def kernel(tmp_path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    yield made
    made.close()


def told(kernel, code):
    """What a front end is told after a cell; what the notebook keeps must not have the token in it."""
    front = FrontEnd(kernel)
    front.step()
    ran = kernel.do(code)
    kept = ran.of("display_data", "update_display_data", "execute_result", "stream", "comm_open")
    assert TOKEN not in json.dumps(kept)
    (shown,) = ran.of("display_data")
    opened = [each for each in ran.of("comm_open") if each["comm_id"] == shown["data"][WIDGET]["model_id"]]
    assert len(opened) == 1
    front._send(opened[0]["comm_id"], {"kind": "hello"})

    def answers():
        front._seen = 0
        found = [m["content"]["data"]["content"] for m in kernel.messages if is_custom(m)]
        return [each for each in found if each["kind"] == "secret"]

    return until(answers)[0], shown["data"]["text/plain"]


def is_custom(message):
    return message["msg_type"] == "comm_msg" and message["content"]["data"].get("method") == "custom"


@pytest.mark.parametrize(
    "code", ["%cluster invite --role client --uses 3 --expires 1h", "lab.invite('client', 3, 3600)"]
)
def test_a_token_is_shown_and_not_saved(kernel, code):
    kernel.do(loaded(3600))
    news, saved = told(kernel, code)
    assert news["line"].startswith(f"TWISTCLUSTER_TOKEN={TOKEN}") and news["line"].endswith(
        " twistcluster join box:8930"
    )
    assert "Good 3 times, until " in news["about"] and 'tc.connect("tls://box:8930")' in news["about"]
    assert "take another address of this host: 192.0.2.7:8930" in news["about"]
    assert re.search(r"\nTake it back:  twistcluster deny lab client-[0-9a-f]{6}\n", news["about"])
    assert "This isn't saved with the notebook." in news["about"]
    assert saved == "An invitation was shown here, and isn't saved. In a terminal: twistcluster invite"
    if code.startswith("%"):
        assert kernel.value("lab.asked") == "('client', 3, '1h')"


def test_a_token_that_has_expired_is_told_to_nobody(kernel):
    kernel.do(loaded(-1))
    news, _ = told(kernel, "%cluster invite")
    assert news["line"] == "" and "good for nothing any more" in news["about"]


def test_a_role_that_there_isnt(kernel):
    kernel.do(loaded(3600))
    ran = kernel.run("%cluster invite --role boss")
    assert "--role boss: another machine joins as client or worker" in ran.error


def test_where_nobody_looks_nothing_is_told(tmp_path):
    """nbclient saves all that a widget is sent, too."""
    cells = [loaded(3600), "%cluster invite", "lab.invite('worker', 1, 60)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = nbformat.writes(notebook)
    assert TOKEN not in text and text.count("An invitation was shown here, and isn't saved") == 2
