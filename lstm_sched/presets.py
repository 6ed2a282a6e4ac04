"""Named restart policies: the components that each way of calling fit again keeps (1) and drops (0).

Every preset names every component, so a new component breaks all of them until its fate is decided. A
component that a framework lacks (a carried state, a place in a short epoch) shares the fate of the object in
which it would live. Keras was measured; for the other frameworks the sources of the named versions were read.
"""

from lstm_sched.policy import fates, keep, mark
from lstm_sched.state import Moments, TrainState

# ---- Keras, and parts of the state one by one

# One fit, or a loop of fits that drops nothing.
CONTINUE = keep(
    params=1, moments=1, step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# Keras 3, `fit(epochs=1)` in a loop: callbacks begin again, and the epoch index is always 0.
KERAS_LOOP = keep(
    params=1, moments=1, step=1, epoch=0, order=1, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# KERAS_LOOP with `compile` and a new optimizer in the loop.
KERAS_RECOMPILE = keep(
    params=1, moments=0, step=0, epoch=0, order=1, noise=1,
    carry=1, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# Weights saved and loaded into a new program.
WEIGHTS_ONLY = keep(
    params=1, moments=0, step=0, epoch=0, order=0, noise=0,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# Everything dropped: training from scratch.
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

# `fit(epochs=i + 1, initial_epoch=i)` in a loop: the epoch index is right, callbacks still begin again.
KERAS_INITIAL_EPOCH = keep(
    params=1, moments=1, step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# `set_random_seed` in the loop, and tf.keras 2 with any seed: each fit repeats the permutations of the first. A
# dropout stream belongs to its layer and continues; only on PyTorch does one without its own seed start
# again. (On TensorFlow, Keras 3 with any seed has one permutation for all epochs of all fits: this is the
# order FIXED, not a policy.)
KERAS_RESEED = keep(
    params=1, moments=1, step=1, epoch=0, order=0, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# `reset_states()` after each fit of a stateful network.
KERAS_RESET_STATES = keep(
    params=1, moments=1, step=1, epoch=0, order=1, noise=1,
    carry=0, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# A `.keras` file saved and loaded between fits: the optimizer is complete, and the dropout stream starts
# again from its layer's seed, or is a new one if the layer has no seed (`Origin.reseed`). The same holds for
# `.weights.h5` if the optimizer is built first.
KERAS_RELOAD = keep(
    params=1, moments=1, step=1, epoch=0, order=1, noise=0,
    carry=0, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# `.weights.h5` loaded into a freshly compiled model: the optimizer, not yet built, is lost with a warning.
KERAS_RELOAD_WEIGHTS = keep(
    params=1, moments=0, step=0, epoch=0, order=1, noise=0,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# A legacy `.h5` file: it restores count and rate, but neither m nor v. Its optimizer is built for no weights,
# so the next fit of Keras 3.15 raises unless `optimizer.built = False` is set. If the model is compiled
# again, this becomes KERAS_RELOAD_WEIGHTS.
KERAS_RELOAD_H5 = keep(
    params=1, moments=Moments(mu=0, nu=0, count=1, other=0), step=1, epoch=0, order=1, noise=0,
    carry=0, average=0, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# ---- other frameworks

# scikit-learn 1.9, MLP `fit` with warm_start=True and an int random_state: a new optimizer at each fit; the same
# permutations in all but the first, which follow the weights' draws. Early stopping keeps its memory.
SKLEARN_WARM_START = keep(
    params=1, moments=0, step=0, epoch=0, order=0, noise=0,
    carry=0, average=0, rate=0, position=0, monitor=1, best=1,
)  # fmt: skip

# scikit-learn 1.9, MLP `partial_fit` with an int random_state: the optimizer stays, the permutations are as above.
SKLEARN_PARTIAL_FIT = keep(
    params=1, moments=1, step=1, epoch=1, order=0, noise=0,
    carry=0, average=1, rate=1, position=0, monitor=1, best=1,
)  # fmt: skip

# skorch 1.4, `fit`: module (with new weights), optimizer and callbacks are made again; PyTorch's streams go on.
SKORCH_FIT = keep(
    params=0, moments=0, step=0, epoch=0, order=1, noise=1,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# skorch 1.4, `partial_fit`: only callbacks begin again. (A scheduler stepped by batch starts at the number of
# epochs.)
SKORCH_PARTIAL_FIT = keep(
    params=1, moments=1, step=1, epoch=1, order=1, noise=1,
    carry=0, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# Hugging Face transformers 5.23, `Trainer.train()` again: the optimizer stays, the scheduler is made again for the
# length of one call (a saw-tooth), the sampler is seeded again; a call's first evaluation counts as better.
HUGGING_FACE_TRAIN = keep(
    params=1, moments=1, step=0, epoch=0, order=0, noise=1,
    carry=0, average=1, rate=1, position=0, monitor=0, best=0,
)  # fmt: skip

# Lightning 2.6, a new Trainer with the same callbacks: `configure_optimizers` runs again, EarlyStopping counts on.
LIGHTNING_NEW_TRAINER = keep(
    params=1, moments=0, step=0, epoch=0, order=1, noise=1,
    carry=0, average=0, rate=0, position=0, monitor=1, best=1,
)  # fmt: skip

# Lightning 2.6, `fit(ckpt_path=…)` in a new process that seeds everything: a checkpoint holds the place in
# the epoch, but no random state.
LIGHTNING_CKPT_PATH = keep(
    params=1, moments=1, step=1, epoch=1, order=0, noise=0,
    carry=0, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# Composer 0.32, `fit(duration="1ep")`: nothing is lost, but a schedule's horizon grows with each call.
COMPOSER_FIT = keep(
    params=1, moments=1, step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=1, best=1,
)  # fmt: skip

# Composer 0.32, `fit(reset_time=True)`: both clocks return to 0, and with them every schedule.
COMPOSER_RESET_TIME = keep(
    params=1, moments=1, step=0, epoch=0, order=1, noise=1,
    carry=1, average=1, rate=1, position=0, monitor=1, best=1,
)  # fmt: skip

# fastai 2.8, `fit_one_cycle` in a loop: the optimizer stays, each call is a whole new cycle.
FASTAI_ONE_CYCLE = keep(
    params=1, moments=1, step=0, epoch=0, order=1, noise=1,
    carry=1, average=1, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# A function `train(model)` that makes its optimizer, scheduler, average and counters itself (PyTorch, optax).
OPTIMIZER_IN_TRAIN = keep(
    params=1, moments=0, step=0, epoch=0, order=1, noise=1,
    carry=0, average=0, rate=0, position=0, monitor=0, best=0,
)  # fmt: skip

# ---- published methods

# SGDR (Loshchilov and Hutter 2017): only the schedule's clock returns to 0, on purpose.
SGDR = keep(
    params=1, moments=1, step=0, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# SPAM (Huang et al. 2025): m and v zeroed, the count kept (hence × 6.57), and the rate warmed up again.
SPAM = keep(
    params=1, moments=Moments(mu=0, nu=0, count=1, other=1), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# ReLoRA (Lialin et al. 2023): 99 % of m and v pruned, by magnitude or at random; here each number keeps 1 %, what
# random pruning leaves on average. The count stays, as in its code; the rate is warmed up again (a jagged cosine).
RELORA = keep(
    params=1, moments=Moments(mu=0.01, nu=0.01, count=1, other=1), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# Shrink and perturb (Ash and Adams 2020), λ = 0.6, with a fresh draw of the weights as the noise (D'Oro et al. 2023).
SHRINK_AND_PERTURB = keep(
    params=0.6, moments=0, step=0, epoch=0, order=1, noise=1,
    carry=0, average=0, rate=0, position=1, monitor=0, best=0,
)  # fmt: skip

# v taken from the square of the first gradient after the boundary, m and count kept: needs an optimizer made by
# `reinit_v_from_gradient`.
V_FROM_GRADIENT = keep(
    params=1, moments=Moments(mu=1, nu=0, count=1, other=0), step=1, epoch=1, order=1, noise=1,
    carry=1, average=1, rate=1, position=1, monitor=1, best=1,
)  # fmt: skip

# ---- by name

DIALECTS = {  # other frameworks than Keras, and published methods
    "sklearn_warm_start": SKLEARN_WARM_START,
    "sklearn_partial_fit": SKLEARN_PARTIAL_FIT,
    "skorch_fit": SKORCH_FIT,
    "skorch_partial_fit": SKORCH_PARTIAL_FIT,
    "hugging_face_train": HUGGING_FACE_TRAIN,
    "lightning_new_trainer": LIGHTNING_NEW_TRAINER,
    "lightning_ckpt_path": LIGHTNING_CKPT_PATH,
    "composer_fit": COMPOSER_FIT,
    "composer_reset_time": COMPOSER_RESET_TIME,
    "fastai_one_cycle": FASTAI_ONE_CYCLE,
    "optimizer_in_train": OPTIMIZER_IN_TRAIN,
    "sgdr": SGDR,
    "spam": SPAM,
    "relora": RELORA,
    "shrink_and_perturb": SHRINK_AND_PERTURB,
    "v_from_gradient": V_FROM_GRADIENT,
}
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
ALIASES = {"adam_rel": "drop_count"}
REDRAWN = (
    "skorch_fit",
    "shrink_and_perturb",
)  # their fresh weights are a new draw at each boundary: `Origin.redraw`


def fate_table(policies: dict[str, TrainState]) -> str:
    """Write a Markdown table of the components that policies keep and drop.

    Args:
        policies: policies by name, such as `POLICIES`.

    Returns:
        A table with one row per policy and one column per component: ✓ kept, ✗ dropped, or the fraction that is kept.
    """
    rows = {name: fates(policy) for name, policy in policies.items()}
    components = list(fates(CONTINUE))
    lines = ["| | " + " | ".join(components) + " |", "|---" * (len(components) + 1) + "|"]
    lines += [
        f"| `{name}` | " + " | ".join(mark(row[c]) for c in components) + " |" for name, row in rows.items()
    ]
    return "\n".join(lines)
