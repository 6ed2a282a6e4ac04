"""Which sentences of the usual answer to the question hold?

    python -m experiments.claims

Twenty-one claims, C1 to C21, are made for a loop of fit(epochs=1); docs/examples.md has the three examples that they
speak of. No verdict is written by hand: each is computed from its evidence. Some are decided here and now, by
trainings of the question's network on sunspots whose bits are compared; two by the real Keras, where it is
installed; the measured ones by the newest raw results of the other experiments.

Runtime: under a minute on two cores. Expected: whatever speaks of the loop as it is written does not hold, as that
loop is one fit, bit for bit; examples 2 and 3 do not do what is said of them; of loops that drop state the sign varies.
"""

from collections.abc import Sequence

from rich.table import Column, Table

from experiments.claims import ask_keras, rule_verdicts, trainings, verdicts
from experiments.claims import page as pa
from experiments.claims import verdicts as ve
from experiments.claims.claims import CLAIMS, Finding
from experiments.claims.config import Config, Plan, command, prepare
from experiments.claims.results import Call, Refit, Rule
from experiments.claims.trainings import Runs
from experiments.harness import page, report, run_folder

PARTS = (verdicts, rule_verdicts)

Row = dict[str, str]  # id, claim, verdict, evidence, command


def execute(plan: Plan) -> list[Row]:
    """Train, ask, read, decide, write and print: the rows of claims.csv."""
    seeds = plan.config.seeds
    ways = (
        trainings.of_question(plan.question[0].epochs, seeds),
        trainings.of_small(plan.small[0].epochs, seeds),
    )
    with report.running(plan.folder, "Table, raw numbers and page") as out:
        out.print(
            f"{len(CLAIMS)} claims; under a minute on two cores. Ctrl-C stops it. Results: {plan.folder}"
        )
        out.print("1 of 3: the loop and example 2, with and without rules (C1 to C5, C7 to C9, C14, C16)")
        question = trainings.train(*plan.question, ways[0], out)
        out.print("2 of 3: what a loop keeps and repeats, and the rates of example 3 (C13, C15)")
        small = trainings.train(*plan.small, ways[1], out)
        out.print("3 of 3: real Keras, in a process of its own (C12, C21): about 10 s where it is installed")
        said = ask_keras.ask(plan.config.keras)
        found = decide(question, small, said, plan.refits, plan.rules, plan.calls)
        rows = [
            {"id": name, "claim": CLAIMS[name].text, **found[name]._asdict(), "command": command(name, plan)}
            for name in CLAIMS
        ]
        write(plan, rows, question, small, said)
        out.print(table(rows))
        out.print(pa.answer(rows), style="bold")
    void = [row["id"] for row in rows if row["verdict"] == "void"]
    if void:
        raise RuntimeError(f"void: {', '.join(void)}; trainings that must differ did not")
    return rows


def decide(
    question: Runs,
    small: Runs,
    said: ask_keras.Said,
    refits: Sequence[Refit],
    rules: Sequence[Rule],
    calls: Sequence[Call],
) -> dict[str, Finding]:
    """A finding for each claim, from its evidence alone; `void` where trainings that must differ did not."""
    found = {name: rule(question) for part in PARTS for name, rule in part.OF_QUESTION.items()}
    found |= {name: rule(small) for part in PARTS for name, rule in part.OF_SMALL.items()}
    found = ve.beside(found, refits)
    for runs, one, other, names in (
        (question, "keras_recompile", "one_fit", ("C1", "C2", "C3", "C4", "C5")),
        (question, "one_fit, all rules", "one_fit, stopping", ("C7", "C14")),
        (small, "keras_reseed", "one_fit", ("C15",)),
    ):
        if not trainings.weights(runs, one, other):
            blind = Finding("void", f"{one} and {other} must differ, and are the same bits")
            found |= dict.fromkeys(names, blind)
    return found | ask_keras.findings(said) | ve.decide(refits, rules, calls)


def write(plan: Plan, rows: list[Row], question: Runs, small: Runs, said: ask_keras.Said) -> None:
    """The table, the raw numbers behind it, and the page."""
    run_folder.write_csv(plan.folder / "claims.csv", rows)
    run_folder.write_csv(
        plan.folder / "trainings.csv", trainings.rows({"question": question, "small": small})
    )
    run_folder.write_json(plan.folder / "keras.json", said._asdict())
    page.write(plan.folder, pa.sections(plan.folder, rows, small, plan.refits))


def table(rows: list[Row]) -> Table:
    """All claims for a terminal."""
    widths = {"": 3, "claim": 24, "verdict": 10, "evidence": None, "command": 22}
    columns = [Column(name, width=width, overflow="fold") for name, width in widths.items()]
    return report.table("the claims of the usual answer", columns, [list(row.values()) for row in rows])


def main(config: Config | None = None) -> list[Row]:
    """The whole command, for Python: the rows of claims.csv. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))
