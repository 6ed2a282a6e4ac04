"""Many trainings beside a few of PyTorch's: shared out, checked and told right; what is missing is said."""

import csv
import dataclasses
import importlib.util

import pytest

from experiments.harness import exits, run_folder
from experiments.harness.peers import comparison, process
from experiments.harness.peers.workload import Shape
from experiments.throughput import gpu
from experiments.throughput import gpu as gp
from experiments.throughput.gpu import Row

OWN_SECONDS, TORCH_SECONDS = (9.0, 2.0, 4.0, 2.0), (8.0, 6.0, 12.0, 6.0)
SMALL = gp.Config(device="cpu", members=3, epochs=1, others=2, repetitions=1, large_epochs=2)
WHOLE = [("many", -1, 2, gp.CHECKED), ("many", 0, 3, 1), ("many", 1, 3, 1)]  # of ours
WHOLE += [("one large", -1, 1, gp.CHECKED), ("one large", 0, 1, 2), ("one large", 1, 1, 2)]


def rows(torch_losses=(0.5, 0.25)):
    """100 trainings here, 2 in PyTorch: each 150 times as long, on a machine whose speed varies."""
    own = [
        Row("many", process.OURS, "jax, 1 × H", r, 100, 7, s, (0.1,) * 100) for r, s in enumerate(OWN_SECONDS)
    ]
    torch = [Row("many", gp.TORCH, "torch", r, 2, 7, s, (9.0,) * 2) for r, s in enumerate(TORCH_SECONDS)]
    return [
        Row("many", process.OURS, "jax, 1 × H", -1, 2, 3, 1.0, (0.5, 0.25)),
        Row("many", gp.TORCH, "torch", -1, 2, 3, 1.0, torch_losses),
        *own,
        *torch,
    ]


def test_a_training_is_set_against_a_training_of_the_same_repetition():
    told = gpu.compared(rows(), {})
    assert told.rows[0] == ("many", process.OURS, "100", "2 [2, 3] s", "9", "0.02 [0.02, 0.03] s", "–")
    assert told.rows[1] == ("many", gp.TORCH, "2", "6 [6, 9] s", "8", "3 [3, 4.5] s", "150 [150, 150] ×")
    assert told.answer == (
        "many, 100 × 7 epochs (jax, 1 × H): 2 [2, 3] s; PyTorch takes 150 [150, 150] × the time of each"
    )
    assert "All reach the same loss, to 0.002." in told.notes


@pytest.mark.parametrize("wrong", [0.2506, float("nan")])
def test_a_loss_that_is_not_ours_is_named(wrong):
    told = gpu.compared(rows((0.5004, wrong)), {})
    assert told.notes[-1] == f"OTHER LOSSES: many, PyTorch, member 1: {wrong:.6g}, ours 0.25"


def test_alone_there_is_nothing_to_agree_with():
    told = gpu.compared(
        [r for r in rows() if r.package == process.OURS], {gp.TORCH: "torch is not installed"}
    )
    assert told.notes == ["ours: jax, 1 × H.", "PyTorch: not measured (torch is not installed)"]
    assert comparison.notes({}, [], 0.1) == ["All reach the same loss, to 0.1."]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("members", 0, "members: 0; allowed: 1 or more"),
        ("epochs", -1, "epochs: -1; allowed: 1 or more"),
        ("repetitions", 0, "repetitions: 0; allowed: 1 or more"),
        ("large_epochs", -1, "large_epochs: -1; allowed: 0 or more"),
        ("others", 4, "others: 4; allowed: up to 3, the members"),
        ("python", "/nowhere/python", "python: /nowhere/python is no file"),
    ],
)
def test_bad_fields_are_refused_before_anything_is_made(field, value, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        gp.prepare(dataclasses.replace(SMALL, out=str(tmp_path / "run"), **{field: value}))
    assert not (tmp_path / "run").exists()


def test_without_a_gpu_it_says_so_in_a_sentence(tmp_path):
    plan = gp.prepare(dataclasses.replace(SMALL, device="cuda", out=str(tmp_path / "run")))
    with pytest.raises(exits.Refused, match="JAX has no device of the platform cuda") as refused:
        gp.execute(plan)
    assert refused.value.code == 1


def test_the_choice_of_the_lstm_is_measured_where_cudnn_is():
    """The scan and cuDNN, by one package."""
    names = {
        device: [job.name for job in gp.jobs(gp.Config(device=device)) if job.what == "one large"]
        for device in ("cpu", "cuda")
    }
    assert names == {"cpu": [process.OURS, gp.TORCH], "cuda": [process.OURS, "ours, cudnn", gp.TORCH]}
    assert {job.what for job in gp.jobs(gp.Config(large_epochs=0))} == {"many"}


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Of a whole run of a small setting, its rows, folder and output."""
    shape = Shape(hidden=3, batch=2, window=4, features=2, windows=4)
    monkeypatch.setitem(gp.SHAPES, "question", shape)
    monkeypatch.setitem(gp.SHAPES, "large", shape._replace(hidden=4))
    measured = gp.main(dataclasses.replace(SMALL, out=str(tmp_path / "run")))
    return measured, tmp_path / "run", " ".join(capsys.readouterr().out.split())  # whatever its lines


def test_ours_is_measured_whether_pytorch_is_here_or_not(told):
    measured, folder, out = told
    ours = [(r.what, r.repetition, r.members, r.epochs) for r in measured if r.package == process.OURS]
    assert sorted(ours) == sorted(WHOLE)
    with (folder / "results.csv").open(encoding="utf-8") as f:
        assert len(list(csv.DictReader(f))) == len(measured)
    assert "many, 3 × 1 epochs (jax" in out and "one large, 1 × 2 epochs (jax" in out
    assert (folder / "report.html").is_file() and not list(folder.glob("data*"))
    assert run_folder.read_json(folder / "config.json")["config"]["members"] == 3
    here = importlib.util.find_spec("torch") is not None
    assert ("not measured (torch is not installed)" in out) is not here


@pytest.mark.peers
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_pytorch_trains_the_same(told):
    measured, _, out = told
    torch = [(r.what, r.repetition, r.members, r.epochs) for r in measured if r.package == gp.TORCH]
    assert sorted(torch) == sorted((what, n, min(members, 2), epochs) for what, n, members, epochs in WHOLE)
    assert "All reach the same loss" in out
