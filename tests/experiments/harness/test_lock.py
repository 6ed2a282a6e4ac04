"""A folder has one holder; one that died is told of and replaced, one on another host is believed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from experiments.harness.lock import FILE, InUse, hold

pytestmark = pytest.mark.fault

HOLDER = """
import sys, time
from pathlib import Path
from experiments.harness.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_who_works_there(tmp_path):
    process = holder(tmp_path)
    try:
        with pytest.raises(InUse) as refused, hold(tmp_path):
            pass
    finally:
        end(process)
    said = str(refused.value)
    assert f"{tmp_path} is in use by process {process.pid} on {socket.gethostname()} since 2" in said


def test_a_killed_holder_is_told_of_and_replaced(tmp_path):
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with hold(tmp_path) as said:
        assert f"left by process {process.pid} on {socket.gethostname()} since 2" in said
        assert said.endswith("which is dead; taken over")
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ended_leaves_nothing(tmp_path):
    with hold(tmp_path):
        pass
    with hold(tmp_path) as said:
        assert said == ""
    assert list(tmp_path.iterdir()) == []


def test_a_holder_on_another_host_is_believed_until_its_file_is_deleted(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "2026-01-01"}))
    with (
        pytest.raises(InUse, match=r"process 7 on elsewhere since 2026.*if it is dead, delete .*lock\.part"),
        hold(tmp_path),
    ):
        pass
    (tmp_path / FILE).unlink()
    with hold(tmp_path) as said:
        assert said == ""


@pytest.mark.parametrize("text", ['{"pid"', "[]", "[" * 999, "\0" * 9])
def test_a_file_that_says_nothing_is_one_of_a_dead_process(text, tmp_path):
    (tmp_path / FILE).write_text(text)
    with hold(tmp_path) as said:
        assert "left by process unknown on unknown" in said


def test_of_many_that_ask_at_once_for_what_a_dead_one_left_one_gets_it(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"pid": 7, "host": socket.gethostname()}))
    asked, inside, most, got = threading.Barrier(8), [], [], []

    def ask():
        asked.wait()
        for _ in range(50):
            try:
                with hold(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    got.append(1)
            except InUse:
                pass

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got
    assert set(most) == {1}
