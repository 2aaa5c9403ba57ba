"""What holds for every test, those in docstrings and in docs/ too."""

import signal

pytest_plugins = ["tests.surroundings"]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell without job control started this in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
