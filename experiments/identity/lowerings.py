"""One training in six lowerings of the same step: how each is carried on to an epoch, and to a step.

The single ones train the first member, the populations both. Letters: M members, S steps of the run.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import jax
import optax.contrib

from experiments.harness.setting import FIRST_SEED, Setting, build, rates
from lstm_sched import population, rules
from lstm_sched.batches import upcoming
from lstm_sched.data.splits import Split
from lstm_sched.data.windows import Data
from lstm_sched.learner import Learner, steps_per_epoch
from lstm_sched.loop import epoch, run, step
from lstm_sched.members import Hyper, Member, Progress, make_origin, member, start
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.population.layout import Layout
from lstm_sched.presets import CONTINUE
from lstm_sched.state import TrainState, restart

SEEDS = (FIRST_SEED, FIRST_SEED + 1)
CHOSEN = {name: OPTIMIZERS[name] for name in ("sgd", "momentum", "rmsprop", "adam", "adamw", "lion")} | {
    "schedule-free": optax.contrib.schedule_free_adamw
}
LAYOUTS = {
    "mapped population": Layout(1, mapped=True),
    "vmapped population": Layout(1, mapped=False),
    "sharded over two devices": Layout(2, mapped=True),
}
STEPS, EPOCHS, RUN = "steps in a Python loop", "epoch scan", "run scan"
LOWERINGS = (STEPS, EPOCHS, RUN, *LAYOUTS)

step_jit = jax.jit(step, static_argnames="learner")
epoch_jit = jax.jit(epoch, static_argnames="learner")
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))
upcoming_jit = jax.jit(upcoming, static_argnames=("learner", "size"))
restart_jit = jax.jit(restart, static_argnames="learner")


class Training(NamedTuple):
    """What is trained, and how it is lowered."""

    lowering: str
    learner: Learner
    member_M: Member
    data: Data
    epochs: int  # of the whole training


def use_two_devices() -> None:
    """Two devices of one kind on any host; before the first use of JAX."""
    jax.config.update("jax_platforms", "cpu")
    population.use_cores(2)


def one_fits(setting: Setting, split: Split, optimizer: str, lowerings: Iterable[str]) -> dict[str, Training]:
    """One fit of `setting.epochs` epochs in each lowering."""
    built = build(setting, split)
    learner = built.learner._replace(optimizer=CHOSEN[optimizer])
    hp, never = Hyper(rates(setting, built.steps)), rules.never(setting.epochs)
    members = [member(learner, hp, CONTINUE, never, make_origin(built.learner, seed)) for seed in SEEDS]
    member_M = population.stack(members)
    return {name: Training(name, learner, member_M, split.data, setting.epochs) for name in lowerings}


def in_fits(one: Training, every: int) -> Training:
    """The same in fits of `every` epochs, with a boundary that drops nothing before each but the first."""
    when = population.stack([rules.every(every, one.epochs)] * len(SEEDS))
    return one._replace(member_M=one.member_M._replace(when=when))


def begin(one: Training) -> Progress:
    """Before the first epoch, on the host."""
    if one.lowering in LAYOUTS:
        return population.to_host(population.start_all(one.learner, one.member_M.origin))
    return population.to_host(start(one.learner, _single(one).origin), ...)


def _single(one: Training) -> Member:
    return population.take(one.member_M, 0)


def advance(one: Training, progress: Progress, end: int) -> Progress:
    """Trained on to the end of epoch `end` in one call, or in one loop without a pause; on the host."""
    if one.lowering in LAYOUTS:
        layout = LAYOUTS[one.lowering]
        chunks = population.train(one.learner, layout, one.member_M, one.data, end, progress)
        return deque(chunks, maxlen=1).pop()[0]
    learner, data, own = one.learner, one.data, _single(one)
    if one.lowering == RUN:
        progress, _ = run_jit(learner, own, data, progress, one.epochs, end)
        return population.to_host(progress, ...)
    while int(progress.clock) < end:
        if int(progress.clock) and bool(own.when(progress)):
            kept = restart_jit(learner, own.policy, own.origin, progress.state, progress.clock)
            progress = progress._replace(state=kept)
        if one.lowering == EPOCHS:
            now, log = epoch_jit(learner, own.hp, data, progress.state)
            progress = progress._replace(log=log)
        else:
            now = _steps(learner, own.hp, data, progress.state)
        progress = progress._replace(state=now, clock=progress.clock + 1)
    return population.to_host(progress, ...)


def _steps(learner: Learner, hp: Hyper, data: Data, now: TrainState) -> TrainState:
    now, batch_S = upcoming_jit(learner, data.train.size, now)
    for s in range(steps_per_epoch(learner, data.train.size)):
        now, _ = step_jit(learner, hp, data, now, population.take(batch_S, s))
    return now._replace(epoch=now.epoch + 1)
