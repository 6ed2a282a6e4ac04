"""A run's results in words: what an arm drops, how its loss changes, and the answer to the question."""

from collections.abc import Sequence

import numpy as np

from experiments.harness import arms as ar
from experiments.harness.outcome import METRICS, Results, difference, log_loss, parts_at, void
from lstm_sched import stats
from lstm_sched.stats import sensitivity


def change(effect: stats.Effect) -> str:
    """The change of test loss in %, with the interval from which its verdict is read."""
    if effect.verdict == "identical":
        return "= bits"
    if np.isnan(effect.mean):
        return "–"
    mean, lo, hi = (stats.percent(x) for x in (effect.mean, effect.lo, effect.hi))
    form = "+.1f" if max(-lo, hi) >= 0.1 else "+.1g"
    return f"{mean:{form}} % [{lo:{form}}, {hi:{form}}]".replace("-", "−")


def verdict(arm: ar.Arm, results: Results) -> str:
    """The verdict on an arm, for both metrics."""
    effects = results.effects[arm.name]
    if arm.nudged:
        return f"no verdict; {_floor(arm, results)}; {_parting(arm, results)}"
    text = stats.combine(*(effects[metric] for metric in METRICS))[1]
    if arm.is_identity and results.differing[arm.name] == 0:
        return f"{text}: 0 of {results.weights * arm.seeds:,} weights differ by a bit ({arm.seeds} seeds)"
    return text


def _floor(arm: ar.Arm, results: Results) -> str:
    """How far the test loss moves if one initial weight changes by a unit in its last place."""
    effect = results.effects[arm.name][stats.Metric.END]
    if effect.diverged or effect.diverged_ref:
        return f"diverged: {effect.diverged} of {effect.n} runs, and {effect.diverged_ref} of {ar.REFERENCE}"
    floor = [np.sqrt(np.mean(difference(results, arm, metric) ** 2)) for metric in METRICS]
    if not any(floor):
        return "moves no test loss"
    end, selected = (f"{stats.percent(x):.2g} %".replace("-", "−") for x in floor)
    return f"chaos floor: rms change {end} {stats.Metric.END}, {selected} {stats.Metric.SELECTED}"


def _parting(arm: ar.Arm, results: Results) -> str:
    """The epoch at which the arm's validation loss has left that of the reference."""
    epoch, epochs = parts_at(results, arm), results.curves["val"].shape[1]
    text = f"parts from {ar.REFERENCE}'s by more than {stats.percent(sensitivity.APART):.1g} %"
    if epoch is None:
        return f"validation loss never {text} in {epochs} epochs"
    return f"validation loss {text} at epoch {epoch}"


def drops(arm: ar.Arm) -> str:
    """A phrase for what a boundary of this arm drops, and how often."""
    if arm.nudged:
        return "nothing; one weight moved by 1 ulp"
    if arm.control and arm.rate_factor != 1:
        return f"nothing; rate × {arm.rate_factor:g}"
    often = "every epoch" if arm.every == 1 else f"every {arm.every} epochs"
    more = f"; its own learning rate {often}" if arm.rescheduled else ""
    more += f"; rate × {arm.rate_factor:.3g}" if arm.rate_factor != 1 else ""
    if not arm.lost:
        return f"nothing that the run reads{more}"
    return f"{listed(arm.lost)}, {often}{more}"


def listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def answer(arms: Sequence[ar.Arm], results: Results, window: int) -> str:
    """The answer in a paragraph: the arms that are the same run, then one sentence per arm that is not."""
    if broken := void(arms, results):
        return f"This run is void: {listed(broken)} must be one_fit bit for bit, and is not."
    same = [arm for arm in arms if arm.is_identity and not arm.control and arm.name != ar.REFERENCE]
    changed = [arm for arm in arms if not (arm.is_identity or arm.control)]
    sentences = []
    if same:
        total, names = results.weights * sum(arm.seeds for arm in same), listed([arm.name for arm in same])
        sentences.append(f"Same run: 0 of {total:,} weights differ by a bit between one_fit and {names}.")
    if same and changed:
        sentences.append("Results change only with what else happens between the fits.")
    sentences += [f"{arm.name} (drops {drops(arm)}): {verdict(arm, results)}." for arm in changed]
    return " ".join([*sentences, *loses(results, window)])


def spread(results: Results) -> dict[str, str]:
    """metric -> one_fit's standard deviation of test loss over seeds, if it has several and none diverged."""
    logs = {metric: log_loss(results, metric, results.rows(ar.REFERENCE)) for metric in METRICS}
    return {
        metric: f"{stats.percent(log_N.std(ddof=1)):.1f} %"
        for metric, log_N in logs.items()
        if len(log_N) > 1 and np.isfinite(log_N).all()
    }


def level(results: Results) -> str:
    """The level of the intervals, corrected for all comparisons that are decided together."""
    size = next(round(stats.ALPHA / (1 - e.level)) for e in results.effects[ar.REFERENCE].values())
    return f"1 − {stats.ALPHA:g}/{size}"


def forecast(name: str, window: int) -> str:
    """The name of a forecast that needs no network, as it is printed."""
    return f"AR({window})" if name == "AR" else name


def loses(results: Results, window: int) -> list[str]:
    """A sentence for each forecast without a network that is at least as good on the test part."""
    rows = results.rows(ar.REFERENCE)
    means = {metric: float(np.mean(results.loss[metric][rows])) for metric in METRICS}
    return [
        f"One fit ({mean:.3f} {metric}) loses to {forecast(name, window)} ({losses['test']:.3f})."
        for metric, mean in means.items()
        for name, losses in results.baselines.items()
        if not mean < losses["test"]
    ]
