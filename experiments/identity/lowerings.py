"""One training in six lowerings of the same step, each of which can be trained up to a given epoch.

Single lowerings train the first member, populations both. Letters: M members, S steps of the run.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

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
from lstm_sched.population.run import Layout
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


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training and its lowering."""

    lowering: str
    learner: Learner
    member_M: Member
    data: Data
    epochs: int  # of the whole training


def use_two_devices() -> None:
    """Set up two devices of one kind on any host; call this before the first use of JAX."""
    jax.config.update("jax_platforms", "cpu")
    population.use_cores(2)


def one_fits(setting: Setting, split: Split, optimizer: str, lowerings: Iterable[str]) -> dict[str, Training]:
    """One fit of `setting.epochs` epochs in each lowering."""
    built = build(setting, split)
    learner = built.learner._replace(optimizer=CHOSEN[optimizer])
    hp, never = Hyper(rates(setting, built.steps)), rules.never(setting.epochs)
    members = [member(learner, hp, CONTINUE, never, make_origin(built.learner, seed)) for seed in SEEDS]
    common = {"learner": learner, "member_M": population.stack(members), "data": split.data}
    return {name: Training(lowering=name, epochs=setting.epochs, **common) for name in lowerings}


def in_fits(training: Training, every: int) -> Training:
    """The training in fits of `every` epochs, with boundaries between them that drop nothing."""
    when = population.stack([rules.every(every, training.epochs)] * len(SEEDS))
    return dataclasses.replace(training, member_M=training.member_M._replace(when=when))


def begin(training: Training) -> Progress:
    """The state before the first epoch, on the host."""
    learner, origin_M = training.learner, training.member_M.origin
    if training.lowering in LAYOUTS:
        return population.to_host(population.start_all(learner, origin_M))
    return population.to_host(start(learner, population.take(origin_M, 0)), ...)


def advance(training: Training, progress: Progress, end: int) -> Progress:
    """The state after training on to the end of epoch `end` without a pause, on the host."""
    learner, data = training.learner, training.data
    if training.lowering in LAYOUTS:
        layout = LAYOUTS[training.lowering]
        chunks = population.train(learner, layout, training.member_M, data, end, progress)
        return deque(chunks, maxlen=1).pop()[0]
    single = population.take(training.member_M, 0)
    if training.lowering == RUN:
        progress, _ = run_jit(learner, single, data, progress, training.epochs, end)
        return population.to_host(progress, ...)
    while int(progress.clock) < end:
        if int(progress.clock) and bool(single.when(progress)):
            kept = restart_jit(learner, single.policy, single.origin, progress.state, progress.clock)
            progress = progress._replace(state=kept)
        if training.lowering == EPOCHS:
            now, log = epoch_jit(learner, single.hp, data, progress.state)
            progress = progress._replace(log=log)
        else:
            now = _steps(learner, single.hp, data, progress.state)
        progress = progress._replace(state=now, clock=progress.clock + 1)
    return population.to_host(progress, ...)


def _steps(learner: Learner, hp: Hyper, data: Data, now: TrainState) -> TrainState:
    now, batch_S = upcoming_jit(learner, data.train.size, now)
    for s in range(steps_per_epoch(learner, data.train.size)):
        now, _ = step_jit(learner, hp, data, now, population.take(batch_S, s))
    return now._replace(epoch=now.epoch + 1)
