"""Which sentences of the usual answer to the question hold?

    python -m experiments.claims

Twenty-one claims, C1 to C21, are made for a loop of fit(epochs=1); docs/examples.md has the three examples that they
are about. No verdict is written by hand: each is computed from its evidence. Some are decided here, by trainings of the
question's network on sunspots whose bits are compared; two by the real Keras, where it is installed; the measured ones
by the newest raw results of the other experiments.

Runtime: one to three minutes on two cores. Expected: what is claimed for the loop as it is written does not hold, as
that loop is one fit, bit for bit; examples 2 and 3 do not do what is claimed for them; for loops that drop state the
sign varies.
"""

import dataclasses

from experiments.claims import ask_keras, report, trainings
from experiments.claims.claims import CLAIMS
from experiments.claims.config import Config, Plan, decide
from experiments.claims.report import Evidence
from experiments.harness.experiment import Experiment, Workplace, carry_out

ABOUT = {
    "question": "1 of 3: the loop and example 2, with and without rules (C1 to C5, C7 to C9, C14, C16)",
    "small": "2 of 3: what a loop keeps and repeats, and the rates of example 3 (C13, C15)",
}


def measure(plan: Plan, workplace: Workplace) -> Evidence:
    """Train both networks and ask Keras; each is kept as soon as it is known."""
    out, networks = workplace.console, {}
    out.print(
        f"{len(CLAIMS)} claims; one to three minutes on two cores. Ctrl-C stops it, --resume continues."
    )
    for network, setting in plan.settings.items():
        out.print(ABOUT[network])
        path = workplace.folder / f"{network}.npz"
        if not path.exists():
            compared = trainings.ways(network, setting.epochs, plan.config.seeds)
            trainings.save(path, trainings.train(setting, compared, out))
        networks[network] = trainings.load(path)
    out.print("3 of 3: real Keras, in a process of its own (C12, C21): about 10 s where it is installed")
    answer = workplace.once("keras", lambda: dataclasses.asdict(ask_keras.ask(plan.config.keras)))
    return Evidence(networks=networks, keras=ask_keras.Answer(**answer))


EXPERIMENT = Experiment(
    name="claims", config=Config, decide=decide, measure=measure, conclude=report.conclude
)


def main(config: Config | None = None) -> Evidence:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    [evidence] = carry_out(EXPERIMENT, Config() if config is None else config)
    return evidence
