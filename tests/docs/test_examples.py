"""docs/examples.md says what happens: its blocks run, and its statements are asserted, here and of recorded Keras."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import small

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KERAS = [block for block in BLOCKS if block.startswith("# Keras")]
ORACLE = np.load(ROOT / "tests" / "oracle" / "keras.npz")
PRELUDE = r"""
import json, sys
import numpy as np

x, y = np.ones((64, 4, 1), "float32"), np.ones((64, 1), "float32")
x_val, y_val = x, y - 2  # what is learned makes it worse: ten bad epochs come soon
seen = {"x": x, "y": y, "x_val": x_val, "y_val": y_val}
said = []
for block in json.load(sys.stdin):
    try:
        exec(block, seen)
    except Exception as e:
        said.append(type(e).__name__)
    else:
        said.append(int(seen["model"].optimizer.iterations))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def page():
    """The names that the page's blocks of ours leave behind, run in order."""
    names: dict = {}
    for block in BLOCKS:
        if block.startswith("# here"):
            exec(block, names)
    return names


def weights(progress):
    return small.bits(progress.state.params)


def curves(log):
    return [np.asarray(x).tobytes() for x in (log.loss, log.val, log.rate, log.trained)]


def test_every_block_says_whose_it_is():
    assert len(BLOCKS) == 13
    assert all(block.startswith(("# Keras", "# here")) for block in BLOCKS)


def test_example_1_is_its_loop(page):
    assert weights(page["once"]) == weights(page["loop"])
    assert curves(page["log_once"]) == curves(page["log_loop"])
    assert page["log_once"].val.shape == (100,) and page["log_once"].trained.all()


def test_example_2_never_stops_and_leaves_the_last_weights(page):
    assert page["log_2"].trained.all()
    without, log = page["fit"](policy=page["KERAS_LOOP"], when=page["LOOP"], lr=1e-2)
    assert weights(page["example_2"]) == weights(without)
    assert curves(page["log_2"]) == curves(log)
    assert weights(without) != small.bits(without.selected.params)
    assert log.val[-1] > without.selected.val


def test_the_count_of_bad_epochs_begins_anew_in_each_fit(page):
    memory = page["example_2"].state.monitor
    assert (int(memory.stopping.wait), bool(memory.stopped)) == (0, False)


def test_what_was_meant_by_example_2_stops_ten_epochs_after_the_best_and_leaves_its_weights(page):
    stopped, log = page["meant_2"], page["log_meant_2"]
    best = 1 + int(np.argmin(log.val))
    assert int(log.trained.sum()) == best + 10 < 100
    assert int(stopped.selected.epoch) == best
    assert weights(stopped) == small.bits(stopped.selected.params)


def test_a_loop_that_keeps_its_counters_is_that_run(page):
    assert weights(page["kept_2"]) == weights(page["meant_2"])
    assert curves(page["log_kept_2"]) == curves(page["log_meant_2"])


def test_the_rates_of_example_3s_repairs(page):
    each, one = (np.asarray(page[name].rate) for name in ("log_each", "log_one"))
    np.testing.assert_allclose(each, 1e-3, rtol=1e-6)
    np.testing.assert_allclose(one[:50], 1e-3, rtol=1e-6)
    powers_E = np.arange(50, 83)
    np.testing.assert_allclose(one[50:83], 1e-3 * 0.1 ** (powers_E - 49.0), rtol=1e-5)
    assert one[82] > 0.99e-36 > one[83:].max()
    assert one[84] == 0 == one[92:].max()  # XLA on CPU flushes what is below 1.2e-38
    assert curves(page["log_initial"]) == curves(page["log_one"])


def test_in_keras_float32_the_rate_is_0_from_epoch_92():
    rates = [np.float32(1e-3)]
    for epoch in range(1, 100):
        factor = 1.0 if epoch < 50 else 0.1
        rates.append(np.float32(float(rates[-1]) * factor))  # Keras computes in Python and stores float32
    assert rates[91] > 0 == max(rates[92:])
    assert rates[82] > 1e-36 > max(rates[83:])


def test_after_epoch_53_little_is_trained(page):
    loss = np.asarray(page["log_one"].loss)
    assert np.ptp(loss[54:]) < 1e-4 * loss[54] < np.ptp(np.asarray(page["log_meant_3"].loss)[54:])


def test_the_absolute_rate_is_50_epochs_at_one_rate_and_50_at_a_tenth(page):
    rate, expected = np.asarray(page["log_meant_3"].rate), np.repeat([1e-3, 1e-4], 50)
    np.testing.assert_allclose(rate, expected, rtol=1e-6)
    fit, loop = page["fit"], page["LOOP"]
    initial, log_initial = fit(page["absolute"], page["KERAS_INITIAL_EPOCH"], loop)
    assert curves(log_initial) == curves(page["log_meant_3"])
    assert weights(initial) == weights(page["meant_3"])
    np.testing.assert_allclose(fit(page["absolute"], page["KERAS_LOOP"], loop)[1].rate, 1e-3, rtol=1e-6)


def test_recorded_keras_does_the_same():
    """20 epochs, the rate divided from epoch 10 on, patience 2."""
    compounding_E = 1e-3 * 0.1 ** np.maximum(np.arange(20) - 9.0, 0)
    np.testing.assert_allclose(ORACLE["lrs/loop/lr"], 1e-3, rtol=1e-6)
    np.testing.assert_allclose(ORACLE["lrs/single/lr"], compounding_E, rtol=1e-5)
    np.testing.assert_array_equal(ORACLE["lrs/loop_initial_epoch/lr"], ORACLE["lrs/single/lr"])
    np.testing.assert_allclose(ORACLE["lrs/absolute/lr"], np.repeat([1e-3, 1e-4], 10), rtol=1e-6)
    assert len(ORACLE["earlystop/single/val"]) == 13
    loop = ORACLE["earlystop/loop/val"]
    assert len(loop) == 20
    assert float(ORACLE["earlystop/loop/final_val"]) == pytest.approx(loop[-1], rel=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_the_keras_blocks_do_in_keras_what_the_page_says():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE],
        input=json.dumps(KERAS),
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    network, one_fit, loop, stopped, raised, absolute = json.loads(done.stdout.splitlines()[-1])  # updates
    assert (network, one_fit, raised) == (0, 200, "ValueError")
    assert loop - one_fit == 200
    assert 2 * 10 < stopped - loop < 200
    assert absolute - stopped == 200
