"""The report of `claims`: the verdict on each claim and its evidence."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.claims import ask_keras, by_results, by_trainings
from experiments.claims.ask_keras import Answer
from experiments.claims.claims import CLAIMS, MEANING, Finding
from experiments.claims.config import Plan, command
from experiments.claims.trainings import Runs, rows
from experiments.harness.document import Document, Lead, Section, Table, Terms

QUESTION = "Which sentences of the usual answer hold?"
METHOD = (
    "How does an LSTM trained with 100 iterations of fit(epochs=1) compare with a single fit(epochs=100)? The answer "
    "that one usually gets makes claims for the loop. Each is judged here by a function of its evidence: bits that are "
    "compared, what the real Keras does, or an experiment with its number of seeds and interval."
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The measurements of this experiment itself."""

    networks: dict[str, Runs]
    keras: Answer


def findings(plan: Plan, evidence: Evidence) -> dict[str, Finding]:
    """A finding for each claim, from its evidence alone."""
    decided = by_trainings.decide(evidence.networks)
    decided |= by_results.extended(decided, plan.refits)
    decided |= by_results.decide(plan.refits, plan.rules, plan.calls) | ask_keras.decide(evidence.keras)
    return {name: decided[name] for name in CLAIMS}


def answer(decided: Mapping[str, Finding]) -> str:
    """The number of each verdict and its claims; claims that hold are quoted."""
    counts = Counter(finding.verdict for finding in decided.values())
    names = {
        verdict: [n for n, finding in decided.items() if finding.verdict == verdict] for verdict in MEANING
    }
    holding = "".join(f' {name} says: "{CLAIMS[name].text}"' for name in names["holds"])
    parts = (
        f"{verdict}: {', '.join(names[verdict])} ({counts[verdict]})"
        for verdict in MEANING
        if counts[verdict]
    )
    return f"Of {len(decided)} claims: {'; '.join(parts)}.{holding}"


def conclude(plan: Plan, evidence: Evidence) -> Document:
    """The table of claims, the raw numbers behind it, and the page."""
    decided = findings(plan, evidence)
    lead = Lead(text=answer(decided))
    table = [
        {
            "id": name,
            "claim": CLAIMS[name].text,
            "verdict": finding.verdict,
            "evidence": finding.evidence,
            "command": command(name, plan),
        }
        for name, finding in decided.items()
    ]
    columns = ("claim", "it says", "verdict", "evidence", "command")
    title = "Weights and curves are compared bit for bit; an interval stands in brackets; n: seeds."
    whole = Table(title=title, columns=columns, rows=[tuple(row.values()) for row in table])
    narrow = Table(title=title, columns=columns[:-1], rows=[row[:-1] for row in whole.rows])
    void = [name for name, finding in decided.items() if finding.verdict == "void"]
    return Document(
        sections=[
            Section(title=QUESTION, blocks=[lead, METHOD]),
            Section(title="Claim by claim", blocks=[whole]),
            Section(title="The answer", blocks=[narrow, lead], places=frozenset({"terminal"})),
            Section(title="The verdicts", blocks=[Terms(pairs=tuple(MEANING.items()))]),
        ],
        tables={"claims.csv": table, "trainings.csv": rows(evidence.networks)},
        files={
            "claims.csv": "one row per claim: verdict, evidence and command",
            "trainings.csv": "every epoch of every training made here",
            "question.npz": "weights and curves of the question's network, trained in each way",
            "small.npz": "the same for the small network",
            "measured.jsonl": "what the real Keras did",
        },
        void=f"void: {', '.join(void)}; trainings that must differ did not" if void else "",
    )
