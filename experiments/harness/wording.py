"""What a run means in words: what an arm drops, what came of it, and the answer to the question."""

from collections.abc import Sequence

import numpy as np

from experiments.harness import arms as ar
from experiments.harness.outcome import METRICS, Results, difference, parts_at, void
from lstm_sched import stats
from lstm_sched.stats import sensitivity


def change(effect: stats.Effect) -> str:
    """% change of test loss with its deciding interval."""
    if effect.verdict == "identical":
        return "= bits"
    if np.isnan(effect.mean):
        return "–"
    mean, lo, hi = (stats.percent(x) for x in (effect.mean, effect.lo, effect.hi))
    form = "+.1f" if max(-lo, hi) >= 0.1 else "+.1g"
    return f"{mean:{form}} % [{lo:{form}}, {hi:{form}}]".replace("-", "−")


def verdict(arm: ar.Arm, results: Results) -> str:
    """The sentence of an arm."""
    effects = results.effects[arm.name]
    if arm.nudged:
        return f"no verdict; {_floor(arm, results)}; {_parting(arm, results)}"
    words = stats.combine(*(effects[metric] for metric in METRICS))[1]
    if arm.is_identity and results.differing[arm.name] == 0:
        total = results.weights * arm.seeds
        return f"{words}: 0 of {total:,} weights differ by a bit ({arm.seeds} seeds)"
    return words


def _floor(arm: ar.Arm, results: Results) -> str:
    """How far one weight moved by a unit in its last place moves the test loss."""
    effect = results.effects[arm.name][stats.Metric.END]
    if effect.diverged or effect.diverged_ref:
        return f"diverged: {effect.diverged} of {effect.n} runs, and {effect.diverged_ref} of {ar.REFERENCE}"
    floor = [np.sqrt(np.mean(difference(results, arm, metric) ** 2)) for metric in METRICS]
    if not any(floor):
        return "moves no test loss"
    end, selected = (f"{stats.percent(x):.2g} %".replace("-", "−") for x in floor)
    return f"chaos floor: rms change {end} {stats.Metric.END}, {selected} {stats.Metric.SELECTED}"


def _parting(arm: ar.Arm, results: Results) -> str:
    """When its validation loss has left that of its twin."""
    epoch, epochs = parts_at(results, arm), results.curves["val"].shape[1]
    words = f"parts from {ar.REFERENCE}'s by more than {stats.percent(sensitivity.APART):.1g} %"
    if epoch is None:
        return f"validation loss never {words} in {epochs} epochs"
    return f"validation loss {words} at epoch {epoch}"


def drops(arm: ar.Arm) -> str:
    """What a boundary of this arm drops, in words."""
    if arm.nudged:
        return "nothing; one weight moved by 1 ulp"
    if arm.control and arm.rate_factor != 1:
        return f"nothing; rate × {arm.rate_factor:g}"
    what = ", ".join(arm.lost) or "nothing that the run reads"
    often = f"every {arm.every} epochs" if arm.every != 1 else "every 1 epoch"
    own = f"; its own learning rate {often}" if arm.rescheduled else ""
    own += f"; rate × {arm.rate_factor:.3g}" if arm.rate_factor != 1 else ""
    return f"{what}, {often}{own}" if arm.lost else f"{what}{own}"


def answer(arms: Sequence[ar.Arm], results: Results, window: int) -> str:
    """The first paragraph."""
    broken = void(arms, results)
    if broken:
        return f"This run is void: {', '.join(broken)} should be one_fit bit for bit, and is not."
    proved = [arm for arm in arms if arm.is_identity and not arm.control and arm.name != ar.REFERENCE]
    same = ""
    if proved:
        total = results.weights * sum(arm.seeds for arm in proved)
        names = " and ".join(arm.name for arm in proved)
        same = f"Same run: 0 of {total:,} weights differ by a bit between one_fit and {names}. "
    changed = [arm for arm in arms if not (arm.is_identity or arm.control)]
    parts = [f"{arm.name} (drops {drops(arm)}): {verdict(arm, results)}" for arm in changed]
    text = same + ("What changes results is what else happens between the fits: " if same and parts else "")
    text += "; ".join(parts) + ("." if parts else "")
    return text + loses(results, window)


def forecast(name: str, window: int) -> str:
    """What a baseline is called."""
    return f"AR({window})" if name == "AR" else name


def loses(results: Results, window: int) -> str:
    """Whether the network is worse than a forecast that needs none."""
    rows, text = results.rows(ar.REFERENCE), ""
    for metric in METRICS:
        network = float(np.mean(results.loss[metric][rows]))
        for name, losses in results.baselines.items():
            if not network < losses["test"]:
                text += f" One fit ({network:.3f} {metric}) loses to {forecast(name, window)} ({losses['test']:.3f})."
    return text
