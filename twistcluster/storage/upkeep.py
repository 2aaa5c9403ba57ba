"""Stand-in until the helper's."""

import contextlib
import os


class Upkeep:
    def __init__(self, folder):
        self.folder = folder

    def look(self, now):
        pass

    def remove(self, ids):
        remove_values(self.folder, ids)


def remove_values(folder, ids):
    for i in ids:
        for p in (folder, folder + "/disk"):
            with contextlib.suppress(OSError):
                os.unlink(f"{p}/{i.hex()}")
