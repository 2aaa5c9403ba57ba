import subprocess
import sys
import threading
import warnings

from twistcluster.client import bridge


def test_calls_run_in_order_on_one_thread_with_few_wake_ups():
    bridge.start()
    seen, threads, done = [], set(), threading.Event()
    for i in range(1000):
        bridge.call(lambda i=i: (seen.append(i), threads.add(threading.get_ident())))
    bridge.call(done.set)
    assert done.wait(60) and seen == list(range(1000)) and len(threads) == 1
    assert not bridge.in_reactor_thread() and bridge.reactor().running


def test_an_error_in_a_call_stops_no_other(caplog):
    bridge.start()
    done = threading.Event()
    bridge.call(lambda: 1 / 0)
    bridge.call(done.set)
    assert done.wait(60) and "ZeroDivisionError" in caplog.text


def test_a_reply_carries_result_or_error():
    from twisted.internet.defer import fail, succeed

    assert bridge.reply_of(lambda: succeed(1)).result(60) == 1
    assert isinstance(bridge.reply_of(lambda: fail(KeyError())).exception(10), KeyError)
    assert isinstance(bridge.reply_of(lambda: 1 / 0).exception(10), ZeroDivisionError)


def test_the_programs_warnings_stay_its_own():
    shows = warnings.showwarning
    code = "import warnings; from twistcluster.client import bridge; bridge.start(); warnings.warn('mine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "<string>:1: UserWarning: mine" in done.stderr
    bridge.start()
    assert warnings.showwarning is shows
