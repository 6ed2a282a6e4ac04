"""Claims that other experiments decide: each a function from their results to a finding."""

from collections.abc import Mapping, Sequence

from experiments.claims.claims import CLAIMS, Finding
from experiments.claims.results import EARLY, KERAS, Call, Refit, Rule
from experiments.harness.wording import change
from lstm_sched import stats

ONCE, LOST = ("one fit",), ("reset", "initial_epoch")  # memories of a rule
WRITTEN, ANEW = "calls", "recompile"  # arms: fit in a loop, as it is written, and with compile in it
MATTERS = 0.01  # fraction of an epoch below which a cost is negligible
NEEDS = {  # the measurements that would decide the claims not measured yet
    "C6": "the distance gone and the loss barrier from the first epochs to the end, for one fit and for the loop",
    "C19": "noise once, in each epoch and in each step, with and without a change of volatility",
    "C20": "a lower against a higher rate at a plateau, and the loss barrier between the two",
}


def decide(refits: Sequence[Refit], rules: Sequence[Rule], calls: Sequence[Call]) -> dict[str, Finding]:
    """Findings on claims C6, C10, C11, and C17 to C20."""
    missing = {
        name: Finding("not measured yet", f"it takes {needs} ({CLAIMS[name].experiment})")
        for name, needs in NEEDS.items()
    }
    return missing | {
        "C10": stopping_helps(rules),
        "C11": lowering_helps(rules),
        "C17": negligible(calls),
        "C18": superior(refits),
    }


def extended(findings: Mapping[str, Finding], refits: Sequence[Refit]) -> dict[str, Finding]:
    """The findings on C2 and C4, which bits decide, with evidence on loops that drop state appended."""
    dropping = [effects for refit in refits for effects in refit.effects.values() if not _same(effects)]
    agreed = [stats.combine(*effects)[0] for effects in dropping]
    early = [
        f"{change(r.early)} on {r.table.series} (n = {r.early.n}, {r.table.place})" for r in refits if r.early
    ]
    second = {
        "C2": f"loops that drop state: on both metrics better in {agreed.count('better')}, worse in "
        f"{agreed.count('worse')} of {len(agreed)} (see C18)"
        if dropping
        else "what loops that drop state come to is not measured yet",
        "C4": f"with compile in the loop validation loss at epoch {EARLY} changes by {', '.join(early)}"
        if early
        else "with compile in the loop: the curves of refit, which say it, are not here",
    }
    return {
        name: Finding(findings[name].verdict, f"{findings[name].evidence}; {text}")
        for name, text in second.items()
        if findings[name].verdict != "void"
    }


def superior(refits: Sequence[Refit]) -> Finding:
    """C18, about the loop as it is written, `keras_loop`; the evidence also has the loops that drop state."""
    as_written = [refit.effects["keras_loop"] for refit in refits if "keras_loop" in refit.effects]
    if not as_written:
        return Finding("not measured yet", "no results of refit with keras_loop")
    evidence = (
        f"as written: {', '.join(dict.fromkeys(stats.combine(*effects)[1] for effects in as_written))}. "
    )
    metrics = " / ".join(stats.Metric)
    evidence += f"With state dropped, test loss {metrics}: {'; '.join(map(_series, refits))}"
    verdicts = [stats.combine(*effects)[0] for effects in as_written]
    dropping = [e for refit in refits for effects in refit.effects.values() for e in effects]
    if all(v == "identical" for v in verdicts):
        helps = any(e.verdict == "better" for e in dropping)
        return Finding("not as written" if helps else "does not hold", evidence)
    if "better" in verdicts:
        return Finding("holds" if set(verdicts) == {"better"} else "depends", evidence)
    return Finding("undecided" if {"undecided", "mixed"} & set(verdicts) else "does not hold", evidence)


def stopping_helps(rules: Sequence[Rule]) -> Finding:
    """C10: a lower loss after the last epoch in fewer epochs, in one fit and in a loop that is handed the rule."""
    measured = [r for r in rules if r.rule == "stopping"]
    once, loop = (list(filter(_stops_well, _of(measured, *memory))) for memory in (ONCE, LOST))
    if not _of(measured, *ONCE):
        return Finding("not measured yet", "no results of monitoring with stopping")
    if once:
        return Finding("holds" if loop else "not as written", _listed(measured))
    open_ = any(r.effect.verdict == "undecided" for r in _of(measured, *ONCE))
    return Finding("undecided" if open_ else "does not hold", _listed(measured))


def lowering_helps(rules: Sequence[Rule]) -> Finding:
    """C11: rules that lower the rate, in one fit."""
    measured = [r for r in rules if r.rule != "stopping"]
    verdicts = {r.effect.verdict for r in _of(measured, *ONCE)}
    if not verdicts:
        return Finding("not measured yet", "no results of monitoring with a rule that lowers the rate")
    if "better" in verdicts:
        return Finding("depends" if "worse" in verdicts else "holds", _listed(measured))
    return Finding("undecided" if "undecided" in verdicts else "does not hold", _listed(measured))


def negligible(calls: Sequence[Call]) -> Finding:
    """C17: the costs of Keras in epochs of every measured length, with compile in the loop and without."""
    keras = [c for c in calls if c.package.startswith(KERAS) and c.arm in (WRITTEN, ANEW)]
    if not keras:
        return Finding("not measured yet", "no results of overhead with Keras")
    evidence = f"{'; '.join(map(_costs, _grouped(keras)))} ({keras[0].table.place})"
    small, large = [c.high < MATTERS for c in keras], [c.low >= MATTERS for c in keras]
    if any(small) and any(large):
        return Finding("depends", evidence)
    if all(small) or all(large):
        return Finding("holds" if all(small) else "does not hold", evidence)
    return Finding("undecided", evidence)


def _grouped(calls: Sequence[Call]) -> list[list[Call]]:
    """One list of calls per package and arm, sorted by the steps in an epoch."""
    names = dict.fromkeys((c.package, c.arm) for c in calls)
    same = ([c for c in calls if (c.package, c.arm) == name] for name in names)
    return [sorted(some, key=lambda c: c.steps) for some in same]


def _costs(same: Sequence[Call]) -> str:
    """The cost of one package and arm: milliseconds in the shortest epochs, then the share of each epoch."""
    first, how = same[0], " with compile" * (same[0].arm == ANEW)
    shares = [f"{100 * c.share:,.{0 if c.share >= 0.1 else 1}f} % at {c.steps:,}" for c in same]
    return f"{first.package}{how}: {1e3 * first.seconds:.3g} ms a call, of an epoch {', '.join(shares)} steps"


def _same(effects: tuple[stats.Effect, stats.Effect]) -> bool:
    return effects[0].verdict == "identical"


def _series(refit: Refit) -> str:
    dropping = {arm: effects for arm, effects in refit.effects.items() if not _same(effects)}
    n = " or ".join(str(n) for n in sorted({end.n for end, _ in dropping.values()}))
    arms = (f"{arm} {change(end)} / {change(selected)}" for arm, (end, selected) in dropping.items())
    return f"{refit.table.series} (n = {n}, {refit.table.place}) {', '.join(arms)}"


def _of(rules: Sequence[Rule], *memories: str) -> list[Rule]:
    """The rules with one of these memories, for the metric after the last epoch."""
    return [r for r in rules if r.memory in memories and r.metric == stats.Metric.END]


def _stops_well(r: Rule) -> bool:
    return r.effect.verdict == "better" and r.epochs_median < r.table.config["epochs"]


def _listed(rules: Sequence[Rule]) -> str:
    """A phrase on one fit for each patience, and one on all loops that lose the memory."""
    once = [
        f"patience {r.patience} {change(r.effect)}, {r.epochs_median:g} epochs (n = {r.effect.n}, {r.table.place})"
        for r in _of(rules, *ONCE)
    ]
    loops = _of(rules, *LOST)
    text = f"{rules[0].rule} in one fit of {rules[0].table.config['epochs']} epochs, test loss {stats.Metric.END}: "
    text += "; ".join(once)
    if loops:
        epochs = sorted({f"{r.epochs_median:g}" for r in loops}, key=float)
        verdicts = sorted({r.effect.verdict for r in loops})
        text += f"; handed to each fit of a loop: {' or '.join(verdicts)}, {' or '.join(epochs)} epochs"
    return text
