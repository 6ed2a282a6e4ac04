"""Named restart policies: what each way of calling fit again keeps (1) and drops (0).

Every preset names every component, so that a new one breaks each until its fate is decided.
"""

from typing import Any

from lstm_sched.state import Moments, TrainState, keep

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
    """Markdown: a row a component, a column a policy."""
    columns = {name: fates(policy) for name, policy in policies.items()}
    lines = ["| | " + " | ".join(f"`{name}`" for name in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for component in next(iter(columns.values())):
        lines.append(f"| {component} | " + " | ".join(mark(c[component]) for c in columns.values()) + " |")
    return "\n".join(lines)
