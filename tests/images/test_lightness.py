import subprocess
import sys


def test_importing_steps_loads_neither_pillow_nor_numpy():
    text = (
        "import sys, twistcluster.images.plan, twistcluster.images.saving, twistcluster.images.stamps\n"
        "from twistcluster.images.steps import *\n"
        "Resize(5), Text, Map(len)\n"
        "print({'PIL', 'numpy', 'twisted'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True)
    assert found.stdout == "set()\n"
