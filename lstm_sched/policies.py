"""Named restart policies: what each way of calling fit again keeps (1) and drops (0); other frameworks' in dialects.py.

Every preset names every component, so that a new one breaks each until its fate is decided.
"""

from typing import Any

from lstm_sched.dialects import DIALECTS
from lstm_sched.fractions import keep
from lstm_sched.state import Moments, TrainState

# One fit, or a loop of fits that drops nothing.
CONTINUE = keep(
    params=1, moments=1, step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# Keras 3, `fit(epochs=1)` in a loop: callbacks start anew, the epoch index is always 0.
KERAS_LOOP = keep(
    params=1, moments=1, step=1, epoch=0, order=1, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# The same with `compile` and a new optimizer in the loop.
KERAS_RECOMPILE = keep(
    params=1, moments=0, step=0, epoch=0, order=1, noise=1,
    carry=1, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# Weights saved and loaded into a new program.
WEIGHTS_ONLY = keep(
    params=1, moments=0, step=0, epoch=0, order=0, noise=0,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# Everything anew: training from scratch.
SCRATCH = keep(
    params=0, moments=0, step=0, epoch=0, order=0, noise=0,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# m and v zeroed, the bias-correction count kept.
DROP_MOMENTS = keep(
    params=1, moments=Moments(mu=0, nu=0, count=1, other=1), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# The count set to 0, m and v kept: Adam-Rel (Ellis et al. 2024).
DROP_COUNT = keep(
    params=1, moments=Moments(mu=1, nu=1, count=0, other=1), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

DROP_M = keep(
    params=1, moments=Moments(mu=0, nu=1, count=1, other=1), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

DROP_V = keep(
    params=1, moments=Moments(mu=1, nu=0, count=1, other=1), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# `fit(epochs=i + 1, initial_epoch=i)` in a loop: the epoch index is right, callbacks still start anew.
KERAS_INITIAL_EPOCH = keep(
    params=1, moments=1, step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# `set_random_seed` in the loop, and tf.keras 2 with any seed: each fit repeats the first's permutations. A dropout
# stream is its layer's and goes on; only on PyTorch does one without a seed of its own start again. (On TensorFlow,
# Keras 3 with any seed has one permutation for all epochs of all fits: that is the order FIXED, no policy.)
KERAS_RESEED = keep(
    params=1, moments=1, step=1, epoch=0, order=0, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# `reset_states()` after each fit of a stateful network.
KERAS_RESET_STATES = keep(
    params=1, moments=1, step=1, epoch=0, order=1, noise=1,
    carry=0, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# A `.keras` file saved and loaded between fits: the optimizer is whole, the dropout stream starts again from its
# layer's seed, or anew where that has none (`Origin.reseed`). So with `.weights.h5` if the optimizer is built first.
KERAS_RELOAD = keep(
    params=1, moments=1, step=1, epoch=0, order=1, noise=0,
    carry=0, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# `.weights.h5` loaded into a freshly compiled model: the optimizer, not yet built, is lost with a warning.
KERAS_RELOAD_WEIGHTS = keep(
    params=1, moments=0, step=0, epoch=0, order=1, noise=0,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# A legacy `.h5` file: it brings back count and rate, but neither m nor v. Its optimizer is built for no weights, so the
# next fit of Keras 3.15 raises, unless told `optimizer.built = False`. Compiled anew it is KERAS_RELOAD_WEIGHTS.
KERAS_RELOAD_H5 = keep(
    params=1, moments=Moments(mu=0, nu=0, count=1, other=0), step=1, epoch=0, order=1, noise=0,
    carry=0, average=0, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

POLICIES = {
    "one_fit": CONTINUE,
    "keras_loop": KERAS_LOOP,
    "keras_recompile": KERAS_RECOMPILE,
    "weights_only": WEIGHTS_ONLY,
    "scratch": SCRATCH,
    "drop_moments": DROP_MOMENTS,
    "drop_count": DROP_COUNT,
    "drop_m": DROP_M,
    "drop_v": DROP_V,
    "keras_initial_epoch": KERAS_INITIAL_EPOCH,
    "keras_reseed": KERAS_RESEED,
    "keras_reset_states": KERAS_RESET_STATES,
    "keras_reload": KERAS_RELOAD,
    "keras_reload_weights": KERAS_RELOAD_WEIGHTS,
    "keras_reload_h5": KERAS_RELOAD_H5,
    **DIALECTS,
}
FATE_OF_MOMENT = {"mu": "m", "nu": "v", "count": "count", "other": "other moments"}  # rows of a fate table
ALIASES = {"adam_rel": "drop_count"}


def fates(policy: TrainState) -> dict[str, Any]:
    """Keep-fraction of every component, the optimizer's parts apart: the row of a fate table."""
    moments = policy.moments if isinstance(policy.moments, Moments) else Moments(*[policy.moments] * 4)
    rest = policy._asdict()
    del rest["params"], rest["moments"]
    parts = {FATE_OF_MOMENT[name]: fraction for name, fraction in moments._asdict().items()}
    return {"weights": policy.params, **parts, **rest}


def mark(fraction: float) -> str:
    """✓ kept, ✗ dropped, or the fraction that is kept."""
    return "✗" if fraction == 0 else "✓" if fraction == 1 else f"{fraction:g}"


def fate_table(policies: dict[str, TrainState]) -> str:
    """Markdown: a row a policy, a column a component."""
    rows = {name: fates(policy) for name, policy in policies.items()}
    components = list(fates(CONTINUE))
    lines = ["| | " + " | ".join(components) + " |", "|---" * (len(components) + 1) + "|"]
    lines += [
        f"| `{name}` | " + " | ".join(mark(row[c]) for c in components) + " |" for name, row in rows.items()
    ]
    return "\n".join(lines)
