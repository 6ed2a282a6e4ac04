"""Signals end a run at the next chunk while it trains, and at once before and after."""

import os
import signal
import threading

import pytest

from experiments.harness.exits import EXIT, Stopped, raise_stopped, stop_signals

pytestmark = pytest.mark.fault


def test_each_signal_is_noted_and_the_next_ends_the_process():
    for signum in EXIT:
        before = signal.getsignal(signum)
        with stop_signals() as received:
            os.kill(os.getpid(), signum)
            assert received == [signum]
            assert all(signal.getsignal(s) == signal.SIG_DFL for s in EXIT)
        assert signal.getsignal(signum) == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR2])
def test_before_and_after_training_a_signal_stops_as_ctrl_c_does(signum):
    before = signal.getsignal(signum)
    with pytest.raises(KeyboardInterrupt) as stopped, raise_stopped():
        os.kill(os.getpid(), signum)
    assert isinstance(stopped.value, Stopped)
    assert EXIT[signal.Signals(stopped.value.signum)] == 75
    assert signal.getsignal(signum) == before


def test_training_takes_the_signals_over_and_gives_them_back():
    with raise_stopped():
        with stop_signals() as received:
            os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_outside_of_the_main_thread_nothing_is_handled():
    found = []

    def look():
        with stop_signals() as received, raise_stopped():
            found.append((received, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [([], signal.getsignal(signal.SIGTERM))]
