"""Claims on the loop itself: each a function from what was trained to a finding, so that other trainings say other."""

from collections.abc import Callable

import numpy as np

from experiments.arms import differing
from experiments.claims_list import Finding
from experiments.claims_runs import Runs, differ, span, weights


def more_updates(runs: Runs) -> Finding:
    """C1."""
    one, loop = runs["one_fit"], runs["keras_loop"]
    other = weights(runs, "keras_loop", "one_fit")
    evidence = (
        f"{span(loop.step_N)} updates in the loop, {span(one.step_N)} in one fit; {differ(runs, other)}"
    )
    return Finding("holds" if other or (loop.step_N != one.step_N).any() else "does not hold", evidence)


def explores_otherwise(runs: Runs) -> Finding:
    """C2, as far as bits decide it."""
    other, dropped = (weights(runs, name, "one_fit") for name in ("keras_loop", "keras_recompile"))
    evidence = f"as written {differ(runs, other)}; with compile in the loop {dropped:,} do"
    return Finding("holds" if other else "not as written", evidence)


def monitored_more(runs: Runs) -> Finding:
    """C3."""
    one, loop = (np.isfinite(runs[name].val_NE).sum(1) for name in ("one_fit", "keras_loop"))
    other = differing(runs["one_fit"].val_NE, runs["keras_loop"].val_NE)
    evidence = f"{span(loop)} validation losses in the loop, {span(one)} in one fit; {other} differ by a bit"
    return Finding("holds" if (loop > one).any() else "does not hold", evidence)


def faster_at_first(runs: Runs) -> Finding:
    """C4, as written: the first fifth of the epochs is at first."""
    one, loop = runs["one_fit"], runs["keras_loop"]
    other = differing((one.loss_NE, one.val_NE), (loop.loss_NE, loop.val_NE))
    evidence = f"{other} of {2 * one.loss_NE.size} training and validation losses differ by a bit"
    first = max(1, one.loss_NE.shape[1] // 5)
    ahead_N = one.loss_NE[:, :first].mean(1) < loop.loss_NE[:, :first].mean(1)
    if other:
        evidence += (
            f"; one fit has the lower training loss in the first {first} epochs of {ahead_N.sum()} seeds"
        )
    return Finding("holds" if ahead_N.all() else "depends" if ahead_N.any() else "does not hold", evidence)


def stuck_early(runs: Runs) -> Finding:
    """C5: that two runs differ would not yet say which of them is stuck."""
    one, loop = runs["one_fit"], runs["keras_loop"]
    other = differing((one.params, one.selected), (loop.params, loop.selected))
    evidence = f"{other} numbers differ by a bit in the last weights and in those of lowest validation loss"
    if other:
        return Finding("undecided", evidence)
    return Finding("not as written", evidence + ": where one is stuck, so is the other")


def sampling_needs_loop(runs: Runs) -> Finding:
    """C15."""
    other, repeated = (weights(runs, name, "one_fit") for name in ("keras_loop", "keras_reseed"))
    evidence = (
        f"with a new order and new dropout in each epoch {differ(runs, other)}; {repeated:,} do from a loop that "
        "repeats the first order and dropout, so that in one fit they are new"
    )
    return Finding("holds" if other else "does not hold", evidence)


OF_QUESTION: dict[str, Callable[[Runs], Finding]] = {
    "C1": more_updates,
    "C2": explores_otherwise,
    "C3": monitored_more,
    "C4": faster_at_first,
    "C5": stuck_early,
}
OF_SMALL: dict[str, Callable[[Runs], Finding]] = {"C15": sampling_needs_loop}
