"""Presets are exhaustive constants: a new component breaks each until its fate is decided; each survives JSON."""

import ast
import json
from pathlib import Path

import pytest

from lstm_sched import policy as po
from lstm_sched import presets
from lstm_sched import presets as pr
from lstm_sched.policy import fates
from lstm_sched.presets import ALIASES, CONTINUE, POLICIES, REDRAWN, SCRATCH, fate_table
from lstm_sched.schedules import TABLES
from lstm_sched.state import Moments, TrainState

CALLS = {
    node.targets[0].id: (module, node.value)
    for module in (pr, presets)
    for node in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
}  # fmt: skip


def made(name, keep):
    """The preset's own source, evaluated with another `keep`."""
    source = compile(ast.Expression(CALLS[name][1]), "a preset", "eval")
    return eval(source, {"keep": keep, "Moments": Moments})


def test_every_policy_is_a_preset_under_its_constants_name_in_lower_case():
    constants = {name: getattr(module, name) for name, (module, _) in CALLS.items()}
    named = {"one_fit" if name == "CONTINUE" else name.lower(): policy for name, policy in constants.items()}
    assert named == POLICIES
    assert set(ALIASES.values()) <= set(POLICIES)
    assert not set(ALIASES) & set(POLICIES)


@pytest.mark.parametrize("name", CALLS)
def test_a_preset_names_every_component_by_keyword(name):
    _, call = CALLS[name]
    assert ast.unparse(call.func) == "keep"
    assert not call.args
    assert [keyword.arg for keyword in call.keywords] == list(TrainState._fields)


@pytest.mark.parametrize("name", CALLS)
def test_a_new_component_breaks_every_preset_until_its_fate_is_decided(name):
    def demanding(*, hidden_component, **known):
        return po.keep(**known)

    assert made(name, po.keep) == getattr(CALLS[name][0], name)
    with pytest.raises(TypeError, match="hidden_component"):
        made(name, demanding)


@pytest.mark.parametrize("name", POLICIES)
def test_a_preset_comes_back_from_json(name):
    policy = POLICIES[name]
    assert po.from_dict(json.loads(json.dumps(po.to_dict(policy)))) == policy


def test_no_two_presets_are_the_same():
    """In their fractions, whether weights are drawn anew, and what they make of the learning rate."""
    assert {*REDRAWN, *TABLES} <= set(POLICIES)
    written = {
        (json.dumps(po.to_dict(policy)), name in REDRAWN, TABLES.get(name))
        for name, policy in POLICIES.items()
    }
    assert len(written) == len(POLICIES)


def test_a_fate_table_has_a_row_a_policy_and_a_mark_a_component():
    table = fate_table({"all": CONTINUE, "none": SCRATCH, "half": CONTINUE._replace(params=0.5)})
    head, _, *rows = [line.split("|")[1:-1] for line in table.splitlines()]
    assert [cell.strip() for cell in head[1:]] == list(fates(CONTINUE))
    assert len(head) == 1 + len(TrainState._fields) + len(Moments._fields) - 1
    marks = [{cell.strip() for cell in row[1:]} for row in rows]
    assert marks == [{"✓"}, {"✗"}, {"0.5", "✓"}]
