"""Asking and telling Optuna, with the sweep killed in between."""

import math
import subprocess
import sys
from typing import Any

import pytest

from experiments.sweep import learned_search
from experiments.sweep.config import Range
from experiments.sweep.learned_search import Told

optuna = pytest.importorskip("optuna")
SPACE = {
    "hidden": Range(4, 65, log=True, whole=True),
    "drop_last": (True, False),
    "lr": Range(1e-5, 1e-1, log=True),
    "policy": ("one_fit", "drop_m@2"),
}


def came_of(one):
    """A valley at a rate of 1e-3."""
    return (math.log10(one["lr"]) + 3) ** 2 + (one["policy"] == "one_fit")


def searched(folder, killed, batches=4, size=6):
    """Configurations of every batch, and the study."""
    found: list[list[dict[str, Any]]] = []
    study: Any = None
    for batch in range(batches):
        if killed:  # after it had asked for some, and while it wrote
            with learned_search.storage(folder, None) as kept:
                learned_search.ask(learned_search.open_study(kept, "s", 5, batch), SPACE, 2)
            with (folder / learned_search.JOURNAL).open("ab") as journal:
                journal.write(b'{"op_code": 4, "wor')
            (folder / f"{learned_search.JOURNAL}.lock").symlink_to(folder / learned_search.JOURNAL)
        with learned_search.storage(folder, None) as kept:
            study = learned_search.open_study(kept, "s", 5, batch)
            learned_search.forget(study, ())
            asked = learned_search.ask(study, SPACE, size)
            states = ["finished", "pruned", "failed", "finished", "finished", "finished"]
            told = {
                number: Told(state, math.inf if i == 3 else came_of(one), 10)
                for i, (state, (number, one)) in enumerate(zip(states, asked.items(), strict=True))
            }
            for _ in range(1 + killed):  # telling again changes nothing
                learned_search.tell(study, kept, told)
        found.append(list(asked.values()))
    return found, study


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, study = searched(tmp_path / "a", killed=False)
    again, killed = searched(tmp_path / "b", killed=True)
    assert whole == again
    assert study.best_value == killed.best_value < 0.5
    states = [trial.state.name for trial in killed.trials]
    assert [states.count(name) for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")] == [16, 4, 4 + 8, 0]
    assert study.trials[1].intermediate_values == {10: came_of(whole[0][1])}
    assert study.trials[3].value == math.inf


def test_values_are_drawn_from_where_they_were_asked(tmp_path):
    found, _ = searched(tmp_path, killed=False)
    for one in (one for batch in found for one in batch):
        assert list(one) == list(SPACE)
        assert one["hidden"] in range(4, 65)
        assert 1e-5 <= one["lr"] <= 1e-1
        assert one["policy"] in SPACE["policy"]
        assert type(one["drop_last"]) is bool


def test_a_database_serves_as_well(tmp_path):
    url = f"sqlite:///{tmp_path}/studies.db"
    with learned_search.storage(tmp_path, url) as kept:
        study = learned_search.open_study(kept, "s", 0, 0)
        asked = learned_search.ask(study, SPACE, 2)
        learned_search.tell(
            study, kept, {number: Told("finished", came_of(one), 3) for number, one in asked.items()}
        )
    with learned_search.storage(tmp_path, url) as kept:
        trials = learned_search.open_study(kept, "s", 0, 1).trials
    assert [trial.value for trial in trials] == [came_of(one) for one in asked.values()]
    assert not (tmp_path / learned_search.JOURNAL).exists()


@pytest.mark.parametrize("url", ["no url", "sqlite:////not/there/study.db", "nothing://host/study"])
def test_where_no_database_answers_it_is_said_before_anything_is_planned(url):
    with pytest.raises(ValueError, match=r"search.storage: .+; allowed: a database's URL"):
        learned_search.check(url)


def test_optuna_is_imported_only_when_it_is_asked_for():
    code = "import sys, experiments.sweep; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_where_it_is_not_installed_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"optuna is not installed; pip install 'lstm_sched\[optuna\]'"):
        learned_search.storage(tmp_path, None).__enter__()
