"""Claims on stopping, rates and control: each a function from what was trained to a finding.

Letters: N seeds, E epochs.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.claims.claims import Finding
from experiments.claims.trainings import DROP_AT, SHARE, Run, Runs, differ, span, weights
from experiments.harness.arms import differing

REPAIRS = ("callback in each fit", "callback in one fit", "callback, initial_epoch")
ABSOLUTE = "absolute rate in one fit"


def needs_loop(rules: str, runs: Runs) -> Finding:
    """C7 and C14: whether one fit with these rules, which must have acted, is the loop that keeps its counters."""
    once, loop = runs[f"one_fit, {rules}"], runs[f"kept loop, {rules}"]
    count = weights(runs, f"one_fit, {rules}", f"kept loop, {rules}")
    other = count + differing(*((r.loss_NE, r.val_NE, r.rate_NE, r.trained_NE) for r in (once, loop)))
    evidence = f"{_stopped(once)}; {differ(runs, count)} from the loop that keeps its counters"
    acted = (once.epochs_N < once.trained_NE.shape[1]).all()
    if rules == "all rules":
        scheduled, lowered_N = _lowered(once)
        acted &= scheduled and (lowered_N > 0).all()
        evidence += f"; the rate was halved by {'a' if scheduled else 'no'} schedule and "
        evidence += f"{span(lowered_N)} times at a plateau"
    return Finding("undecided" if not acted else "holds" if other else "does not hold", evidence)


def stops_after_ten(runs: Runs) -> Finding:
    """C8: decided only where the same rule does stop one fit."""
    once, loop = runs["one_fit, stopping"], runs["example 2"]
    epochs = loop.trained_NE.shape[1]
    evidence = f"it trains {span(loop.epochs_N)} of {epochs} epochs; with the same rule {_stopped(once)}"
    if (once.epochs_N == epochs).any():
        return Finding("undecided", evidence)
    stopped_N = loop.epochs_N < epochs
    return Finding(
        "holds" if stopped_N.all() else "depends" if stopped_N.any() else "does not hold", evidence
    )


def keeps_best(runs: Runs) -> Finding:
    """C9: decided only where the last weights are not the best."""
    loop, plain = runs["example 2"], runs["example 2 without its rule"]
    last = weights(runs, "example 2", "example 2 without its rule")
    best = differing(loop.params, plain.selected.params)
    above_N = 100 * (plain.val_NE[:, -1] / plain.selected.val - 1)
    evidence = (
        f"{differ(runs, last)} from the last ones without the rule, {best:,} from the best; validation loss "
        f"{span(above_N.round())} % above the best"
    )
    if (above_N <= 0).any() or (last and best):
        return Finding("undecided", evidence)
    return Finding("holds" if last else "does not hold", evidence)


def nothing_intervenes(runs: Runs) -> Finding:
    """C16."""
    once = runs["one_fit, all rules"]
    lowered_N = _lowered(once)[1]
    acted_N = lowered_N + (once.epochs_N < once.trained_NE.shape[1])
    evidence = f"by its validation loss {_stopped(once)}, and the rate is halved {span(lowered_N)} times"
    return Finding("holds" if (acted_N == 0).any() else "does not hold", evidence)


def half_at_a_tenth(runs: Runs) -> Finding:
    """C13: the rates of its three repairs, and of what the words describe."""
    right = [name for name in (*REPAIRS, ABSOLUTE) if _as_said(runs[name])]
    count = len(set(right) & set(REPAIRS))
    verdict = "holds" if count == len(REPAIRS) else "depends" if count else "does not hold"
    traces = [f"{name}: {trace(runs[name].rate_NE[0])}" for name in (*REPAIRS, ABSOLUTE)]
    said = f"what is said of it is the rate of: {', '.join(right) or 'none'}"
    return Finding(verdict, f"{'; '.join(traces)}; {said} (epochs counted from 0)")


OF_QUESTION: dict[str, Callable[[Runs], Finding]] = {
    "C7": partial(needs_loop, "stopping"),
    "C8": stops_after_ten,
    "C9": keeps_best,
    "C14": partial(needs_loop, "all rules"),
    "C16": nothing_intervenes,
}
OF_SMALL: dict[str, Callable[[Runs], Finding]] = {"C13": half_at_a_tenth}


def trace(rate_E: np.ndarray) -> str:
    """A rate's course in words: how many epochs at which rate, or the first ones and from when it is 0."""
    starts = np.flatnonzero(np.diff(rate_E, prepend=np.nan) != 0)  # nan differs from all
    counts = np.diff(starts, append=len(rate_E))
    values = [f"{rate_E[i]:.3g}" for i in starts]
    if len(starts) <= 3:
        return ", ".join(f"{count} at {value}" for count, value in zip(counts, values, strict=True))
    end = f"0 from epoch {starts[-1]} on" if rate_E[-1] == 0 else values[-1]
    return f"{counts[0]} at {values[0]}, then {values[1]}, {values[2]}, …, {end}"


def _as_said(run: Run) -> bool:
    """Half of the epochs at the first rate, half at a tenth of it."""
    epochs = run.rate_NE.shape[1]
    share_E = np.where(np.arange(epochs) < epochs // 2, 1.0, SHARE)
    return bool(np.allclose(run.rate_NE, run.rate_NE[:, :1] * share_E[None], rtol=1e-5, atol=0))


def _lowered(run: Run) -> tuple[bool, np.ndarray]:
    """Whether the schedule halved the rate, and how often, on each seed, something else lowered it."""
    own_NE = run.rate_NE / np.where(np.arange(run.rate_NE.shape[1]) < DROP_AT, 1.0, 0.5)[None]
    change_NE = np.diff(own_NE, axis=1)
    return bool((change_NE <= 0).all()), (change_NE < 0).sum(1)


def _stopped(run: Run) -> str:
    epochs = run.trained_NE.shape[1]
    if (run.epochs_N == epochs).all():
        return f"one fit trains all {epochs} epochs"
    return f"one fit stops after {span(run.epochs_N)} of {epochs} epochs"
