"""A step is there whole or not at all, whatever happens while it is written."""

import json

import pytest

from lstm_sched.checkpoint import steps
from lstm_sched.checkpoint.steps import ASIDE, KEPT, RECORD, UNFINISHED, Damaged

pytestmark = pytest.mark.fault


def fill(path):
    (path / "state").mkdir(parents=True)
    (path / "state" / "a").write_bytes(b"abc")


def content(path, record):
    return (path / "state" / "a").read_bytes(), record["note"]


def detail(path, record, damage):
    return f", says {record['note']}"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_step_is_read_and_the_oldest_are_deleted(tmp_path):
    for step in (1, 3, 20):
        steps.write(tmp_path, step, fill, {"note": step})
    assert steps.steps(tmp_path) == [3, 20]
    assert len(names(tmp_path)) == KEPT
    assert steps.newest(tmp_path, content, detail) == (b"abc", 20)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_a_failed_write_leaves_is_nothing(error, tmp_path):
    def broken(path):
        fill(path)
        raise error

    steps.write(tmp_path, 1, fill, {"note": 1})
    steps.write(tmp_path, 2, fill, {"note": 2})
    with pytest.raises(type(error)):
        steps.write(tmp_path, 3, broken, {"note": 3})
    assert names(tmp_path) == ["1", "2"]
    steps.write(tmp_path, 3, fill, {"note": 3})
    assert steps.newest(tmp_path, content, detail) == (b"abc", 3)


def test_what_a_killed_write_left_is_no_step_and_is_cleared_by_the_next(tmp_path):
    steps.write(tmp_path, 1, fill, {"note": 1})
    fill(tmp_path / f"{UNFINISHED}2.orbax-checkpoint-tmp")
    assert steps.newest(tmp_path, content, detail) == (b"abc", 1)
    steps.write(tmp_path, 2, fill, {"note": 2})
    assert names(tmp_path) == ["1", "2"]


def test_a_file_that_the_save_did_not_write_is_damage(tmp_path):
    steps.write(tmp_path, 1, fill, {"note": 1})
    (tmp_path / "1" / "state" / "b").write_bytes(b"")
    with pytest.raises(Damaged, match="step 1: state/b was not written by the save, says 1"):
        steps.newest(tmp_path, content, detail)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"sha256": 1, "record": {}}', "[" * 100_000, '{"sha256"', "\0" * 9],
    ids=range(8),
)
def test_a_record_of_anything_else_is_damage(text, tmp_path):
    steps.write(tmp_path, 1, fill, {"note": 1})
    (tmp_path / "1" / RECORD).write_text(text)
    with pytest.raises(Damaged, match=r"step 1: record.json (cannot be read|is not as it was written)"):
        steps.newest(tmp_path, content, detail)


def test_a_record_cannot_name_files_outside_its_step(tmp_path):
    (tmp_path / "out").write_bytes(b"abc")
    steps.write(tmp_path / "run", 1, fill, {"note": 1})
    path = tmp_path / "run" / "1" / RECORD
    record = json.loads(path.read_text())["record"]
    record["files"]["../../out"] = record["files"]["state/a"]
    path.write_text(json.dumps({"sha256": steps.seal(record), "record": record}))
    with pytest.raises(Damaged, match=r"\.\./\.\./out is missing"):
        steps.newest(tmp_path / "run", content, detail)


def test_names_that_are_no_numbers_are_no_steps(tmp_path):
    for name in ("-1", "1.5", "٣", "x", f"{ASIDE}9", " 2"):
        (tmp_path / name).mkdir()
    assert steps.steps(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="none in"):
        steps.newest(tmp_path, content, detail)


def test_steps_set_aside_twice_lie_side_by_side(tmp_path):
    for _ in range(2):
        steps.write(tmp_path, 1, fill, {"note": 1})
        assert len(steps.set_aside(tmp_path, 0)) == 1
    assert names(tmp_path) == ["damaged-1", "damaged-1-2"]
