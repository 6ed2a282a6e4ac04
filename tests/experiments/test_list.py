"""`python -m experiments`: what it lists, and what it answers to a name that it does not know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import entries, main

ROOT = Path(__file__).parents[2]


def run(*arguments: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_each_experiment_says_its_question_its_runtime_and_a_page_that_exists(entry):
    assert entry.question.endswith("?")
    assert entry.runtime
    assert not entry.page or (ROOT / entry.page).is_file()


def test_the_readme_of_the_experiments_has_the_same_list():
    rows = ["| question | command | runtime | page |", "|---|---|---|---|"]
    for entry in entries():
        page = f"[{entry.page}](../{entry.page})" if entry.page else "–"
        rows.append(f"| {entry.question} | `{entry.command}` | {entry.runtime} | {page} |")
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    table = text.partition("<!-- experiments -->\n")[2].partition("<!-- /experiments -->")[0]
    assert table.splitlines() == rows


def test_the_list_is_printed_without_the_libraries_that_take_long_to_import():
    code = "import sys, runpy; runpy.run_module('experiments', run_name='__main__')"
    done = run(
        "-c",
        f"import sys\ntry:\n    {code}\nfinally:\n    print({{'jax', 'numpy', 'tyro'}} & {{*sys.modules}})",
    )
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "set()"
    assert [line for line in lines if line.startswith("python -m experiments.")][:-1] == [
        entry.command for entry in entries()
    ]


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["-m", "experiments", "refitt"], ["'refitt'", "did you mean refit?", "allowed: audit, claims"]),
        (["-m", "experiments.refitt"], ["'refitt'", "did you mean refit?", "allowed: audit, claims"]),
        (["-m", "experiments", "--quick"], ["'--quick'", "allowed: audit, claims"]),
        (["-m", "experiments", "refit", "--quick"], ["python -m experiments.refit --quick"]),
    ],
)
def test_what_is_no_experiment_is_named_with_what_is_allowed(arguments, facts):
    done = run(*arguments)
    assert done.returncode == 2
    assert not done.stdout
    assert all(fact in done.stderr for fact in facts), done.stderr


def test_modules_that_are_no_experiments_can_be_run():
    assert run("-m", "experiments.harness.exits").returncode == 0


def test_help_is_the_list(capsys):
    assert main([]) == main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert printed == printed[: len(printed) // 2] * 2


HELP = """
import contextlib, io, runpy, sys
slow = {"matplotlib", "scipy.stats", "orbax.checkpoint", "ray", "optuna", "submitit"}
slow |= {"tensorflow", "torch", "keras", "sklearn"}
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    assert "--out" in text.getvalue(), name
    assert not slow & sys.modules.keys(), (name, slow & sys.modules.keys())
"""


def test_help_imports_nothing_slow_that_it_does_not_need():
    done = run("-c", HELP, *(entry.name for entry in entries()))
    assert done.returncode == 0, done.stderr


def test_a_folder_with_experiments_of_its_own(tmp_path):
    own = tmp_path / "experiments"
    own.mkdir()
    (own / "mine.py").write_text("print('mine')")
    unfound = run("-m", "experiments.mine", folder=tmp_path)  # without __init__.py Python prefers the package
    assert unfound.returncode == 2
    assert f"{own} has no __init__.py" in unfound.stderr
    (own / "__init__.py").write_text("")
    assert run("-m", "experiments.mine", folder=tmp_path).stdout == "mine\n"
    assert run("-m", "experiments", folder=tmp_path).returncode == 1
    assert "experiments.refit" in run("-m", "experiments", folder=tmp_path, PYTHONSAFEPATH="1").stdout
