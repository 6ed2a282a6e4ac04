"""Logarithmic axes have numbers that can be read."""

import matplotlib.pyplot as plt
import pytest

from experiments.harness.figures import STYLE, plain


@pytest.mark.parametrize("top", [3, 40, 5000])
def test_a_log_axis_has_plain_numbers_and_a_linear_one_is_left_alone(top):
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots()
        axes.plot([1, top], [1, 2])
        axes.set_xscale("log")
        before = axes.yaxis.get_major_formatter()
        plain(axes)
        fig.canvas.draw()
        told = [t.get_text() for t in (*axes.get_xticklabels(), *axes.get_xticklabels(minor=True))]
    shown = [text for text in told if text]
    assert shown
    assert all(float(text) > 0 for text in shown)
    assert axes.yaxis.get_major_formatter() is before
    plt.close(fig)
