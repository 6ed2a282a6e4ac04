"""What does my loop drop? Two saved states, just before and just after a boundary.

    python -m experiments.audit before.npz after.npz                      a table, and the policies that do this
    python -m experiments.audit run/checkpoint other/checkpoint --out r   the same as audit.csv and report.html in r

Both are .npz files of arrays (from JAX: `np.savez(file, **{jax.tree_util.keystr(p): x for p, x in
jax.tree_util.tree_leaves_with_path(state)})`), or folders written by `lstm_sched.save`. Files of pickles are refused.
Runtime: seconds. Expected: which parts of the training survived, bit for bit, and the named policies that do just this.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from experiments.harness import document
from experiments.harness.document import Document, Lead, Section, Table, Terms
from experiments.harness.experiment import Decisions, Experiment, Workplace

if TYPE_CHECKING:
    from lstm_sched.auditing.audit import Audit  # --help must not wait for JAX

TERMS = (
    ("kept", "The same bits."),
    ("reset, gone", "Back at its initial value, or no longer there."),
    ("re-seeded", "A random stream that begins from another key."),
    ("scaled, blended", "One factor of it is kept, towards zero or towards the first state."),
    ("perturbed, changed", "Mostly kept with noise on top, or other numbers altogether."),
    ("partly reset", "Some of its arrays are kept, others reset."),
    ("ulp", "Units in the last place: how many representable numbers lie between the two."),
)


@dataclass(frozen=True)
class Config:
    """The states to compare, and the folder for the answer."""

    before: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="BEFORE")] = None
    """the state just before the boundary: an .npz file or a checkpoint folder"""
    after: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="AFTER")] = None
    """the state just after it"""
    fresh: str | None = None
    """the run's first state, to which a reset returns"""
    out: str | None = None
    """a new folder for audit.csv and report.html; by default the answer is only printed"""
    resume: str | None = None
    """the folder of an audit: compare the same files and write its table and page again"""


@dataclass(frozen=True, kw_only=True)
class Compared(Decisions):
    """Two states that could be read and compared."""

    audit: "Audit"


def decide(config: Config, stored: Mapping[str, Any]) -> list[Compared]:
    """Read and compare, as files that cannot be read must be refused before there is a folder."""
    from lstm_sched.auditing.audit import audit

    for field in ("before", "after"):
        if getattr(config, field) is None:
            raise ValueError(f"{field}: none given; allowed: an .npz file or a checkpoint folder")
    return [Compared(config=config, facts={}, audit=audit(config.before, config.after, config.fresh))]


def measure(decisions: Compared, workplace: Workplace) -> "Audit":
    """The comparison, which is already known."""
    return decisions.audit


def conclude(decisions: Compared, audit: "Audit") -> Document:
    """The fate of each component, and the policies that do this."""
    from lstm_sched.auditing.audit import COLUMNS, describe, in_words, seen

    config, answer = decisions.config, describe(seen(audit.rows))
    fates = Table(
        title="What became of each component", columns=COLUMNS, rows=list(map(in_words, audit.rows))
    )
    files = f"Before: {config.before}. After: {config.after}."
    return Document(
        sections=[
            Section(title="What does this boundary drop?", blocks=[Lead(text=answer), files]),
            Section(title="Component by component", blocks=[fates], places=frozenset({"terminal", "page"})),
            Section(title="The answer", blocks=[answer], places=frozenset({"terminal"})),
            Section(title="The words", blocks=[Terms(pairs=TERMS)]),
        ],
        tables={"audit.csv": [dataclasses.asdict(row) for row in audit.rows]},
        files={"audit.csv": "one row per component"},
    )


def print_only(decisions: Sequence[Compared], out: Console) -> bool:
    """Without a folder to write to, the answer is printed and nothing else happens."""
    (compared,) = decisions
    if compared.config.out is None and compared.config.resume is None:
        document.show(out, conclude(compared, compared.audit))
        return True
    return False


AUDIT = Experiment(
    name="audit", config=Config, decide=decide, measure=measure, conclude=conclude, rehearse=print_only
)
