"""Claims that trainings decide: each is a function from the runs to a finding.

Letters: N seeds, E epochs.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from experiments.claims.claims import Finding, Verdict
from experiments.claims.trainings import DROP_AT, SHARE, Run, Runs
from experiments.harness.arms import differing

REPAIRS = ("callback in each fit", "callback in one fit", "callback, initial_epoch")
ABSOLUTE = "absolute rate in one fit"


def decide(networks: Mapping[str, Runs]) -> dict[str, Finding]:
    """A finding for each claim; `void` where trainings that must differ did not."""
    findings = {name: rule(networks[network]) for name, (network, rule) in RULES.items()}
    for network, way, reference, names in MUST_DIFFER:
        if not weights(networks[network], way, reference):
            blind = Finding("void", f"{way} and {reference} must differ, and are the same bits")
            findings |= dict.fromkeys(names, blind)
    return findings


def weights(runs: Runs, way: str, reference: str = "one_fit") -> int:
    """How many of the last weights of two ways differ by a bit, over all seeds."""
    return differing(runs[way].weights_NW, runs[reference].weights_NW)


def differ(runs: Runs, count: int) -> str:
    """A phrase with that count and the number of all weights."""
    return f"{count:,} of {runs['one_fit'].weights_NW.size:,} weights differ by a bit"


def span(values_N: np.ndarray) -> str:
    """The values in words: one whole number, or the lowest and the highest."""
    lo, hi = int(np.min(values_N)), int(np.max(values_N))
    return f"{lo:,}" if lo == hi else f"{lo:,} to {hi:,}"


def _of_seeds(holds_N: np.ndarray) -> Verdict:
    """Whether a sentence holds on all seeds, on some, or on none."""
    return "holds" if holds_N.all() else "depends" if holds_N.any() else "does not hold"


# ---- the loop as it is written


def more_updates(runs: Runs) -> Finding:
    """C1."""
    one_fit, loop = runs["one_fit"], runs["keras_loop"]
    count = weights(runs, "keras_loop")
    evidence = (
        f"{span(loop.step_N)} updates in the loop, {span(one_fit.step_N)} in one fit; {differ(runs, count)}"
    )
    more = count or (loop.step_N != one_fit.step_N).any()
    return Finding("holds" if more else "does not hold", evidence)


def explores_otherwise(runs: Runs) -> Finding:
    """C2, to the extent that bits decide it."""
    count, dropped = (weights(runs, name) for name in ("keras_loop", "keras_recompile"))
    evidence = f"as written {differ(runs, count)}; with compile in the loop {dropped:,} do"
    return Finding("holds" if count else "not as written", evidence)


def monitored_more(runs: Runs) -> Finding:
    """C3."""
    one_fit_N, loop_N = (np.isfinite(runs[name].val_NE).sum(1) for name in ("one_fit", "keras_loop"))
    count = differing(runs["one_fit"].val_NE, runs["keras_loop"].val_NE)
    evidence = (
        f"{span(loop_N)} validation losses in the loop, {span(one_fit_N)} in one fit; {count} differ by a bit"
    )
    return Finding("holds" if (loop_N > one_fit_N).any() else "does not hold", evidence)


def faster_at_first(runs: Runs) -> Finding:
    """C4, as written, with "at first" taken as the first fifth of the epochs."""
    one_fit, loop = runs["one_fit"], runs["keras_loop"]
    count = differing((one_fit.loss_NE, one_fit.val_NE), (loop.loss_NE, loop.val_NE))
    evidence = f"{count} of {2 * one_fit.loss_NE.size} training and validation losses differ by a bit"
    first = max(1, one_fit.loss_NE.shape[1] // 5)
    ahead_N = one_fit.loss_NE[:, :first].mean(1) < loop.loss_NE[:, :first].mean(1)
    if count:
        evidence += (
            f"; one fit has the lower training loss in the first {first} epochs of {ahead_N.sum()} seeds"
        )
    return Finding(_of_seeds(ahead_N), evidence)


def stuck_early(runs: Runs) -> Finding:
    """C5: undecided if the runs differ, since a difference does not show which of them is stuck."""
    one_fit, loop = (
        (run.weights_NW, run.best_NW, run.lowest_N) for run in (runs["one_fit"], runs["keras_loop"])
    )
    count = differing(one_fit, loop)
    evidence = f"{count} numbers differ by a bit in the last weights and in those of lowest validation loss"
    if count:
        return Finding("undecided", evidence)
    return Finding("not as written", evidence + ": where one is stuck, so is the other")


def sampling_needs_loop(runs: Runs) -> Finding:
    """C15."""
    count, repeated = (weights(runs, name) for name in ("keras_loop", "keras_reseed"))
    evidence = (
        f"with a new order and new dropout in each epoch {differ(runs, count)}; {repeated:,} do from a loop that "
        "repeats the first order and dropout, so that in one fit they are new"
    )
    return Finding("holds" if count else "does not hold", evidence)


# ---- stopping, rates and control


def needs_loop(rules: str, runs: Runs) -> Finding:
    """C7 and C14: whether one fit with these rules, which must have acted, is the loop with kept counters."""
    once, loop = runs[f"one_fit, {rules}"], runs[f"kept loop, {rules}"]
    count = weights(runs, f"one_fit, {rules}", f"kept loop, {rules}")
    curves = ((r.loss_NE, r.val_NE, r.rate_NE, r.trained_NE) for r in (once, loop))
    evidence = f"{_stopped(once)}; {differ(runs, count)} from the loop that keeps its counters"
    acted = (once.epochs_N < once.trained_NE.shape[1]).all()
    if rules == "all rules":
        scheduled, lowered_N = _lowered(once)
        acted &= scheduled and (lowered_N > 0).all()
        evidence += f"; the rate was halved by {'a' if scheduled else 'no'} schedule and "
        evidence += f"{span(lowered_N)} times at a plateau"
    if not acted:
        return Finding("undecided", evidence)
    return Finding("holds" if count + differing(*curves) else "does not hold", evidence)


def stops_after_ten(runs: Runs) -> Finding:
    """C8: decided only if the same rule stops one fit."""
    once, loop = runs["one_fit, stopping"], runs["example 2"]
    epochs = loop.trained_NE.shape[1]
    evidence = f"it trains {span(loop.epochs_N)} of {epochs} epochs; with the same rule {_stopped(once)}"
    if (once.epochs_N == epochs).any():
        return Finding("undecided", evidence)
    return Finding(_of_seeds(loop.epochs_N < epochs), evidence)


def keeps_best(runs: Runs) -> Finding:
    """C9: decided only if the last weights are not the best."""
    loop, plain = runs["example 2"], runs["example 2 without its rule"]
    last = weights(runs, "example 2", "example 2 without its rule")
    best = differing(loop.weights_NW, plain.best_NW)
    above_N = 100 * (plain.val_NE[:, -1] / plain.lowest_N - 1)
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
    """C13: the rates of its three repairs, and of the schedule that the words describe."""
    ways = (*REPAIRS, ABSOLUTE)
    right_X = np.array([_as_described(runs[name]) for name in ways])
    traces = [f"{name}: {trace(runs[name].rate_NE[0])}" for name in ways]
    names = ", ".join(name for name, right in zip(ways, right_X, strict=True) if right)
    described = f"what is said of it is the rate of: {names or 'none'}"
    return Finding(
        _of_seeds(right_X[: len(REPAIRS)]), f"{'; '.join(traces)}; {described} (epochs counted from 0)"
    )


def trace(rate_E: np.ndarray) -> str:
    """A rate over time in words: epochs at each rate, or the first rates and the last."""
    starts = np.flatnonzero(np.diff(rate_E, prepend=np.nan) != 0)  # nan differs from all
    counts = np.diff(starts, append=len(rate_E))
    values = [f"{rate_E[i]:.3g}" for i in starts]
    if len(starts) <= 3:
        return ", ".join(f"{count} at {value}" for count, value in zip(counts, values, strict=True))
    end = f"0 from epoch {starts[-1]} on" if rate_E[-1] == 0 else values[-1]
    return f"{counts[0]} at {values[0]}, then {values[1]}, {values[2]}, …, {end}"


def _as_described(run: Run) -> bool:
    """Whether half of the epochs have the first rate, and half a tenth of it."""
    epochs = run.rate_NE.shape[1]
    share_E = np.where(np.arange(epochs) < epochs // 2, 1.0, SHARE)
    return bool(np.allclose(run.rate_NE, run.rate_NE[:, :1] * share_E[None], rtol=1e-5, atol=0))


def _lowered(run: Run) -> tuple[bool, np.ndarray]:
    """Whether the schedule halved the rate, and how often something else lowered it, for each seed."""
    rest_NE = run.rate_NE / np.where(np.arange(run.rate_NE.shape[1]) < DROP_AT, 1.0, 0.5)[None]
    change_NE = np.diff(rest_NE, axis=1)
    return bool((change_NE <= 0).all()), (change_NE < 0).sum(1)


def _stopped(run: Run) -> str:
    epochs = run.trained_NE.shape[1]
    if (run.epochs_N == epochs).all():
        return f"one fit trains all {epochs} epochs"
    return f"one fit stops after {span(run.epochs_N)} of {epochs} epochs"


RULES: dict[str, tuple[str, Callable[[Runs], Finding]]] = {  # with the network whose trainings decide
    "C1": ("question", more_updates),
    "C2": ("question", explores_otherwise),
    "C3": ("question", monitored_more),
    "C4": ("question", faster_at_first),
    "C5": ("question", stuck_early),
    "C7": ("question", partial(needs_loop, "stopping")),
    "C8": ("question", stops_after_ten),
    "C9": ("question", keeps_best),
    "C13": ("small", half_at_a_tenth),
    "C14": ("question", partial(needs_loop, "all rules")),
    "C15": ("small", sampling_needs_loop),
    "C16": ("question", nothing_intervenes),
}
MUST_DIFFER = (  # otherwise these claims are void
    ("question", "keras_recompile", "one_fit", ("C1", "C2", "C3", "C4", "C5")),
    ("question", "one_fit, all rules", "one_fit, stopping", ("C7", "C14")),
    ("small", "keras_reseed", "one_fit", ("C15",)),
)
