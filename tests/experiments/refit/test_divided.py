"""A comparison whose batches are divided over the cores is the mapped one, to rounding."""

import dataclasses

import numpy as np
import pytest

from experiments.harness.outcome import METRICS
from experiments.refit import run as refit


def test_a_divided_comparison_is_the_mapped_one_and_what_drops_nothing_is_identical(tmp_path, capsys):
    arms = ("one_fit", "keras_loop", "keras_recompile")
    config = refit.Config(data=("ar",), window=4, hidden=4, batch=256, epochs=3, seeds=2, lr=0.01, arms=arms)
    (mapped,), (divided,) = (
        refit.main(dataclasses.replace(config, layout=layout, out=str(tmp_path / layout)))
        for layout in ("map", "divide")
    )
    for metric in METRICS:
        np.testing.assert_allclose(divided.loss[metric], mapped.loss[metric], rtol=1e-4)
    assert divided.differing["keras_loop"] == 0
    assert divided.differing["keras_recompile"] > 0
    assert "each batch divided" in capsys.readouterr().out


def test_a_batch_that_cores_cannot_share_is_refused(tmp_path):
    config = refit.Config(data=("ar",), layout="divide", batch=33, devices=2, out=str(tmp_path / "out"))
    with pytest.raises(ValueError, match="batch: 33; allowed: a multiple of 2"):
        refit.main(config)
    assert not (tmp_path / "out").exists()
