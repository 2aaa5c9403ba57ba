"""A second process that does with values what a slot does, and a notebook to send them from."""

import contextlib
import pickle
import struct
import subprocess
import sys
import textwrap

from twistcluster.wire.definitions import Definitions
from twistcluster.wire.functions import load_function, load_step
from twistcluster.wire.values import dumps, loads


class Notebook:
    """Runs cells in `__main__`, and leaves it as it was."""

    def __init__(self):
        self.names = vars(sys.modules["__main__"])
        self.before = dict(self.names)

    def cell(self, source):
        exec(compile(textwrap.dedent(source), "<cell>", "exec"), self.names)

    def __getitem__(self, name):
        return self.names[name]

    def close(self):
        self.names.clear()
        self.names.update(self.before)


class Other:
    """The second process. `definitions` is this process's book, as a client's."""

    def __init__(self, definitions):
        self.definitions = definitions
        self.sent = set()
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _ask(self, *request):
        data = pickle.dumps(request)
        self.process.stdin.write(struct.pack("<Q", len(data)) + data)
        self.process.stdin.flush()
        (size,) = struct.unpack("<Q", self.process.stdout.read(8))
        return pickle.loads(self.process.stdout.read(size))

    def _definitions(self, names):
        new = [(name, self.definitions.blob(name)) for name in names if name not in self.sent]
        self.sent.update(names)
        return new

    def call(self, blob, *args, digest=None):
        """Call the function of a blob (loaded once for each digest, by default the blob) and return its result."""
        encoded = dumps(args, self.definitions)
        buffers = [bytes(buffer) for buffer in encoded.buffers]
        new = self._definitions(encoded.definitions)
        data, buffers, definitions, error = self._ask("call", digest or blob, blob, encoded.data, buffers, new)
        if error:
            raise RuntimeError(error)
        assert all(map(self.definitions.knows, definitions))
        self.last_bytes = len(data)
        return loads(data, buffers, self.definitions)

    def step(self, blob):
        """Run an `everywhere` step."""
        return self.call(blob, digest="step")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def serve():
    book = Definitions(in_slot=True)
    functions = {}
    output = sys.stdout.buffer
    while size := sys.stdin.buffer.read(8):
        _, digest, blob, data, buffers, new = pickle.loads(sys.stdin.buffer.read(*struct.unpack("<Q", size)))
        answer = (b"", [], (), "")
        try:
            for name, definition in new:
                book.learn(name, definition)
            if digest == "step":
                function = load_step(blob, book)
            else:
                if digest not in functions:
                    functions[digest] = load_function(blob, book)
                function = functions[digest]
            encoded = dumps(function(*loads(data, buffers, book)), book)
            answer = (encoded.data, [bytes(buffer) for buffer in encoded.buffers], encoded.definitions, "")
        except Exception as error:
            answer = (b"", [], (), f"{type(error).__name__}: {error}")
        reply = pickle.dumps(answer)
        with contextlib.suppress(BrokenPipeError):
            output.write(struct.pack("<Q", len(reply)) + reply)
            output.flush()


if __name__ == "__main__":
    serve()
