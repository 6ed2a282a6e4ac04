"""The arms of a comparison: parsed from the user's names, checked for duplicates, made into members."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.harness import setting as se
from lstm_sched import rules, stats
from lstm_sched._names import check_name
from lstm_sched.auditing.fate import differing as differs
from lstm_sched.auditing.leaves import leaves
from lstm_sched.members import Hyper, Member, align_redraw, make_origin, member
from lstm_sched.nn import network
from lstm_sched.policy import FATE_OF_MOMENT, fates, moment_of, spread
from lstm_sched.presets import ALIASES, CONTINUE, POLICIES, REDRAWN
from lstm_sched.schedules import TABLES
from lstm_sched.state import Origin, TrainState, begin

REFERENCE = "one_fit"
UNREAD = ("epoch", "monitor", "best")  # nothing reads them where no per-epoch rule is used
IDENTITY_SEEDS, ULP_SEEDS, RATE_SEEDS = 2, 4, 6
RULER = {"rate_x0.5": 0.5, "rate_x0.9": 0.9, "rate_x1.1": 1.1, "rate_x2": 2.0}
CONTROLS = {"aa": 1.0, "ulp": 1.0, **RULER}  # one fit, with the rate times this factor
ALLOWED = (*POLICIES, *ALIASES, *CONTROLS)


@dataclass(frozen=True)
class Dropped:
    """A leaf of the state that a boundary does not keep whole."""

    fate: str  # its row in a fate table
    leaf: str
    fraction: float  # the fraction of the leaf that is kept


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of training, run on `seeds` consecutive seeds, the first of which is `first`."""

    name: str
    policy: TrainState
    seeds: int
    every: int | None = None  # epochs per fit; None: all of them in one fit
    dropped: tuple[Dropped, ...] = ()  # the leaves that the run reads and a boundary drops
    must_equal: str | None = (
        None  # the arm whose bits it must have, since it drops nothing that the run reads
    )
    control: bool = False
    rate_factor: float = 1.0  # the learning rate relative to the setting's
    nudged: bool = False  # one of the first weights is moved by a unit in its last place
    watch: Any = ()  # its per-epoch rules, in experiments that have any
    fit_ends: int | None = (
        None  # epochs after which the end of a fit acts on the weights; None: only at the end
    )
    redraw: bool = False  # fresh weights are a new draw at each boundary
    rescheduled: str = ""  # the policy that gives each fit a learning rate of its own, if this arm's does
    first: int = se.FIRST_SEED

    @property
    def lost(self) -> list[str]:
        """Rows of a fate table that a boundary drops and the run reads."""
        lost = {leaf.fate for leaf in self.dropped}
        return [row for row in fates(self.policy) if row in lost]

    @property
    def is_identity(self) -> bool:
        """Whether the arm must reproduce another arm's run, bit for bit."""
        return self.must_equal is not None


def parse(names: Sequence[str], setting: se.Setting, built: se.Built) -> tuple[list[Arm], dict[str, str]]:
    """Arms in order, the reference first, and the names left out as duplicates: {name: the arm it repeats}.

    A name is a policy or a control; `@n` after it asks for fits of n epochs, and `all` stands for every arm.
    Raises ValueError for a name or n that is not allowed, one given twice, or a missing reference.
    """
    every_one = tuple(names) == ("all",)
    arms: list[Arm] = []
    for name in ALLOWED if every_one else names:
        if split_name("arms", name, [*ALLOWED, "all"])[0] == "all":
            raise ValueError(f"arms: {', '.join(names)}; all stands alone")
        if names.count(name) > 1:
            raise ValueError(f"arms: {name!r} is given twice; allowed: each arm once")
        arms.append(single(name, setting, built))
    if not any(arm.name == REFERENCE for arm in arms):
        raise ValueError(
            f"arms: {', '.join(names)}; {REFERENCE} must be among them, all others are compared with it"
        )
    arms.sort(key=lambda arm: (arm.name != REFERENCE, arm.control))
    first: dict[Any, str] = {}
    aliases = {}
    for arm in arms:
        if arm.dropped or arm.rescheduled:
            kind = (arm.every, arm.dropped, arm.redraw, arm.rescheduled)
            twin = first.setdefault(kind, arm.name)
        else:
            twin = (
                REFERENCE
                if every_one and arm.is_identity and arm.name not in ("keras_loop", "aa")
                else arm.name
            )
        if twin != arm.name and arm.name != REFERENCE:
            aliases[arm.name] = twin
    return [arm for arm in arms if arm.name not in aliases], aliases


def split_name(field: str, name: str, allowed: Iterable[str]) -> tuple[str, int | None]:
    """Split `name@n` into the name and n, or None without @. ValueError if the name or n is not allowed."""
    stem, at, n = name.partition("@")
    check_name(field, stem, allowed)
    if at and not n.isdecimal():
        raise ValueError(f"{field}: {name!r}; allowed: a whole number of epochs after @")
    return stem, int(n) if at else None


def single(name: str, setting: se.Setting, built: se.Built) -> Arm:
    """The arm with this name; names are as in `parse`."""
    stem, own = split_name("arms", name, ALLOWED)
    every = setting.every if own is None else own
    se.check_every(f"arms: {name}", every, setting.epochs)
    return _arm(name, ALIASES.get(stem, stem), every, setting, built)


def _arm(name: str, stem: str, every: int, setting: se.Setting, built: se.Built) -> Arm:
    n = setting.seeds
    if stem in CONTROLS:
        factor = CONTROLS[stem]
        most = RATE_SEEDS if factor != 1 else ULP_SEEDS if stem == "ulp" else IDENTITY_SEEDS
        return Arm(
            name=name,
            policy=CONTINUE,
            seeds=min(n, most),
            must_equal=REFERENCE if stem == "aa" else None,
            control=True,
            rate_factor=factor,
            nudged=stem == "ulp",
        )
    policy = POLICIES[stem]
    dropped = _dropped(policy, setting, built) if every < setting.epochs else ()
    redraw = stem in REDRAWN and any(leaf.fate == "weights" for leaf in dropped)
    rescheduled = stem if stem in TABLES and _own_rates(stem, every, setting, built) else ""
    seeds = n if dropped or rescheduled or name == REFERENCE else min(n, IDENTITY_SEEDS)
    return Arm(
        name=name,
        policy=policy,
        seeds=seeds,
        every=None if name == REFERENCE else every,
        dropped=dropped,
        must_equal=None if dropped or rescheduled else REFERENCE,
        redraw=redraw,
        rescheduled=rescheduled,
    )


def _own_rates(policy: str, every: int, setting: se.Setting, built: se.Built) -> bool:
    own, plain = se.rates(setting, built.steps, 1.0, policy, every), se.rates(setting, built.steps)
    return not np.array_equal(own, plain)


def reads(setting: se.Setting) -> list[str]:
    """The components of the state that a run of this setting reads; unused components are empty anyway."""
    unread = UNREAD if setting.schedule != "constant" else (*UNREAD, "step")
    return [name for name in TrainState._fields if name not in unread]


def _dropped(policy: TrainState, setting: se.Setting, built: se.Built) -> tuple[Dropped, ...]:
    key = jax.eval_shape(jax.random.key, 0)
    params = jax.eval_shape(built.learner.init, key)
    shapes = jax.eval_shape(lambda k, p: begin(built.learner, k, p), key, params)
    weights = {path: leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(shapes.params)}
    fractions, found = spread(policy, shapes), []
    for component in reads(setting):
        paths = jax.tree_util.tree_leaves_with_path(getattr(shapes, component))
        for (path, leaf), kept in zip(paths, jax.tree.leaves(getattr(fractions, component)), strict=True):
            fate = {"params": "weights"}.get(component, component)
            if component == "moments":
                fate = FATE_OF_MOMENT[moment_of(path, leaf.shape, weights)]
            if kept != 1:
                found.append(Dropped(fate, component + jax.tree_util.keystr(path), float(kept)))
    return tuple(found)


def family(arms: Sequence[Arm]) -> int:
    """The number of comparisons decided together: arms that are no control and can differ, times metrics."""
    return len(stats.Metric) * sum(not (arm.control or arm.is_identity) for arm in arms)


def labels(arms: Sequence[Arm]) -> list[tuple[str, int]]:
    """(arm, seed) of each member."""
    return [(arm.name, arm.first + i) for arm in arms for i in range(arm.seeds)]


def members(arms: Sequence[Arm], setting: se.Setting, built: se.Built) -> list[Member]:
    """One member for each of `labels`; for a given seed, all arms start from the same weights and streams."""
    origins = {seed: make_origin(built.learner, seed) for seed in sorted({seed for _, seed in labels(arms)})}
    own = [[origins[seed] for _, seed in labels([arm])] for arm in arms]
    made = [members_of(arm, setting, built, mine) for arm, mine in zip(arms, own, strict=True)]
    return align_redraw([one for several in made for one in several])


def members_of(arm: Arm, setting: se.Setting, built: se.Built, origins: Sequence[Origin]) -> list[Member]:
    """One member of the arm per origin; `align_redraw` joins members of several arms into one population."""
    rates_S = se.rates(setting, built.steps, arm.rate_factor, arm.rescheduled or REFERENCE, arm.every)
    hp = Hyper(rates_S, watch=arm.watch)
    when = rules.every(arm.every, setting.epochs) if arm.every else rules.never(setting.epochs)
    ends = rules.ends(arm.fit_ends or setting.epochs, setting.epochs) if arm.watch else ()
    if arm.nudged:
        origins = [origin._replace(params=network.nudge(origin.params)) for origin in origins]
    if arm.redraw:
        origins = [origin._replace(redraw=np.bool_(True)) for origin in origins]
    first = member(built.learner, hp, arm.policy, when, origins[0], ends)
    return [first._replace(origin=origin) for origin in origins]


def differing(one: Any, other: Any) -> int:
    """How many numbers differ in at least one bit between two trees on the host."""
    return sum(int(differs(a, b).sum()) for a, b in zip(leaves(one), leaves(other), strict=True))
