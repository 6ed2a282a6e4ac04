"""A command line that must be refused."""

import sys

import jax
import pytest

from experiments.harness import cli


def before_any_compilation(module, name, flags, message, out, request):
    """Code 2 and the message, with nothing compiled and no folder `out`; `request` is pytest's."""
    monkeypatch, capsys, caplog = map(request.getfixturevalue, ("monkeypatch", "capsys", "caplog"))
    monkeypatch.setattr(sys, "argv", [name, *flags, "--out", str(out)])
    with pytest.raises(SystemExit) as exit_, jax.log_compiles():
        cli.run(module.EXPERIMENT, "")
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert not [m for m in caplog.messages if "compilation of jit(run_all)" in m]
