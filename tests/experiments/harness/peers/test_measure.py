"""Jobs are measured in turn; a package that is lost is named; what was measured is not measured again."""

from dataclasses import replace

import pytest
from helpers.packages import TINY, pretend

from experiments.harness import document
from experiments.harness.experiment import Workplace, read_measured
from experiments.harness.peers import measure, process, workload
from experiments.harness.peers.jobs import RATE, RATES, Job
from experiments.harness.peers.process import EPOCH, OURS

JOB = Job(part="one", axis="question", package=OURS, shape=TINY, epochs=3)
MANY = replace(JOB, part="many", value=5, package=EPOCH, members=5, cores=((0,), (1,)))


@pytest.fixture
def timed(tmp_path):
    """Rows of jobs in a workplace that remembers; and the packages that are lost."""

    def timed(*jobs, repetitions=2, **flags):
        known = read_measured(tmp_path / "measured.jsonl")
        workplace = Workplace(folder=tmp_path, console=document.console(), measured=known)
        lost = {}
        with measure.bench(workplace, None, lost, **flags) as place:
            return measure.timed(place, jobs, repetitions), lost

    return timed


def test_every_job_has_a_first_and_its_repetitions(timed, monkeypatch, capsys):
    pretend(monkeypatch)
    check = replace(JOB, part="check", repeated=False)
    rows, lost = timed(JOB, MANY, check)
    assert sorted((row.job.part, row.repetition) for row in rows) == [
        ("check", 0),
        *(("many", r) for r in range(3)),
        *(("one", r) for r in range(3)),
    ]
    assert lost == {}
    assert f"one: question, {OURS}: {OURS} on cpu" in capsys.readouterr().out


def test_members_are_shared_out_to_the_processes_and_none_is_lost(timed, monkeypatch):
    asked = pretend(monkeypatch)
    rows, _ = timed(MANY, repetitions=0)
    assert [task["members"] for _, task in asked] == [
        [(0, RATES[0]), (2, RATES[2]), (4, RATES[0])],
        [(1, RATES[1]), (3, RATES[3])],
    ]
    assert rows[0].losses == pytest.approx([1.03 + member for member in range(5)])


def test_ours_says_what_its_program_takes(timed, monkeypatch):
    asked = pretend(monkeypatch)
    rows, _ = timed(replace(JOB, memory=True))
    assert [task["arm"] for _, task in asked] == ["one_call", "memory", "one_call", "one_call"]
    assert [row.bytes for row in rows] == [1000, 0, 0]
    assert asked[0][1]["members"] == [(0, RATE)]


def test_seconds_are_the_package_s_or_those_that_the_caller_waits(timed, monkeypatch):
    pretend(monkeypatch)
    assert min(row.seconds for row in timed(JOB)[0]) >= 1
    assert max(row.seconds for row in timed(replace(JOB, epochs=4), waited=True)[0]) < 1


@pytest.mark.parametrize("ends", [1, 3])
def test_a_package_that_is_lost_is_named_and_the_others_go_on(timed, monkeypatch, ends):
    asked = pretend(monkeypatch, absent={"Equinox"}, ends=("PyTorch", ends))
    jobs = [JOB, *(replace(JOB, package=name) for name in ("PyTorch", "Equinox"))]
    rows, lost = timed(*jobs, replace(jobs[1], part="later"), repetitions=3)
    assert "Equinox is not installed" in lost["Equinox"]
    assert "killed" in lost["PyTorch"] and ("not measured" in lost["PyTorch"]) is (ends == 1)
    assert sum(row.job.package == OURS for row in rows) == 4
    assert sum(row.job.package == "PyTorch" for row in rows) == ends - 1
    count = len(asked)
    assert timed(*jobs, replace(jobs[1], part="later"), repetitions=3) == (rows, lost)
    assert len(asked) == count, "what is known is not asked again"


def test_without_ours_there_is_nothing_to_compare_with(timed, monkeypatch, tmp_path):
    pretend(monkeypatch, absent={OURS})
    with pytest.raises(process.Lost, match=f"{OURS}: .* not installed") as lost:
        timed(JOB)
    assert lost.value.code == 1
    assert read_measured(tmp_path / "measured.jsonl") == {}, "it is asked again when the run goes on"


def test_a_run_that_goes_on_compiles_again_and_measures_what_is_missing(timed, monkeypatch):
    asked = pretend(monkeypatch, stopped_at=6)
    jobs = JOB, replace(JOB, package=EPOCH)
    with pytest.raises(KeyboardInterrupt):
        timed(*jobs)
    before, again = list(asked), pretend(monkeypatch)
    rows, _ = timed(*jobs)
    assert len(before) == 5 and len(again) == 2, (
        "one repetition, after a first that compiles and is not timed"
    )
    assert again[0] == again[1]
    assert {(row.job.package, row.repetition) for row in rows} == {
        (p, r) for p in (OURS, EPOCH) for r in range(3)
    }
    assert len(rows) == 6


def test_the_data_are_made_once_per_shape_and_are_gone_at_the_end(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(workload, "arrays", lambda shape, members: made.append((shape, members)) or {})
    workplace = Workplace(folder=tmp_path, console=document.console())
    (tmp_path / "data.part").mkdir()
    (tmp_path / "data.part" / "cut-short.npz").touch()
    with measure.bench(workplace, None, {}) as place:
        paths = [measure._file(place, TINY, members) for members in (5, 5, 1)]
        assert set(place.data.resolve().iterdir()) == {paths[0], paths[2]}
        assert all(path.is_absolute() and path.exists() for path in paths)
    assert made == [(TINY, 5), (TINY, 1)]
    assert not place.data.exists()
