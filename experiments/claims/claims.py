"""The claims (sentences of the usual answer), and the possible verdicts."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "holds",
    "does not hold",
    "not as written",
    "depends",
    "undecided",
    "not checked",
    "not measured yet",
    "void",
]

MEANING: dict[Verdict, str] = {
    "holds": "The evidence is what the sentence says.",
    "does not hold": "The evidence is the opposite of what the sentence says.",
    "not as written": "It does not hold for the loop, or the code, that it is about; it does for another one.",
    "depends": "It holds in some of the cases that the evidence names, and not in the others.",
    "undecided": "What the sentence needs did not happen in these trainings, or the interval is too wide.",
    "not checked": "The check needs a package that was not found, or that did not answer in time.",
    "not measured yet": "The check needs an experiment of which there are no results.",
    "void": "Two trainings that must differ did not, so equal bits mean nothing here.",
}


@dataclass(frozen=True)
class Finding:
    """The verdict on one claim, and its evidence."""

    verdict: Verdict
    evidence: str


@dataclass(frozen=True)
class Claim:
    """A sentence of the usual answer, and the experiment that decides it."""

    text: str
    experiment: str


HERE = "claims"

CLAIMS = {
    "C1": Claim("A loop of fits makes more, or other, updates.", HERE),
    "C2": Claim("The loop explores the weights differently and escapes poor minima.", HERE),
    "C3": Claim("The loop can be monitored more often.", HERE),
    "C4": Claim("One fit converges faster at first.", HERE),
    "C5": Claim("One fit gets stuck early, the loop does not.", HERE),
    "C6": Claim("After its first epochs one fit only refines.", "minima"),
    "C7": Claim("Early stopping needs the loop.", HERE),
    "C8": Claim("Example 2 stops after ten bad epochs.", HERE),
    "C9": Claim("Example 2 keeps the best weights.", HERE),
    "C10": Claim("Stopping prevents overfitting and saves time.", "monitoring"),
    "C11": Claim("Scheduling the rate improves convergence.", "monitoring"),
    "C12": Claim("Example 3 runs.", HERE),
    "C13": Claim("Example 3 trains 50 epochs at the rate and 50 at a tenth of it.", HERE),
    "C14": Claim("Stopping and changing the rate are hard to have in one fit.", HERE),
    "C15": Claim("Augmenting or sampling anew between epochs needs the loop.", HERE),
    "C16": Claim("With validation_data in one fit nothing can intervene.", HERE),
    "C17": Claim("What the extra calls cost is negligible.", "overhead"),
    "C18": Claim("The loop can give a superior final model.", "refit"),
    "C19": Claim("Noise in each epoch helps when volatility changes.", "noise"),
    "C20": Claim("A decaying rate helps to escape shallow minima.", "schedules"),
    "C21": Claim("Example 1 runs.", HERE),
}
