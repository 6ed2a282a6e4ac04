"""What the real Keras does with examples 1 and 3, asked in a process of its own: it is never imported here."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from experiments.claims.claims import Finding

LIMIT = 120.0  # seconds
SCRIPT = r"""
import importlib.util, json, os, sys, textwrap
if importlib.util.find_spec("keras") is None:
    print(json.dumps({"why_not": "keras is not installed (pip install keras)"}))
    sys.exit()
backends = [name for name in ("jax", "tensorflow", "torch") if importlib.util.find_spec(name)]
os.environ.setdefault("KERAS_BACKEND", (backends or ["jax"])[0])
import keras
import numpy as np

x, y = np.ones((64, 24, 1), "float32"), np.ones((64, 1), "float32")
fit = dict(x=x, y=y, batch_size=32, validation_data=(x, y), verbose=0)

def network(rate):
    model = keras.Sequential([keras.layers.LSTM(50), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=rate), loss="mse")
    return model

def example_1():
    network(1e-3).fit(epochs=2, **fit)

def example_3():
    f = lambda epoch, lr: lr if epoch < 50 else lr * 0.1
    model = network(keras.callbacks.LearningRateScheduler(f))
    for _ in range(2):
        model.fit(epochs=1, **fit)

def outcome(example):
    try:
        example()
    except Exception as e:
        return f"raises {type(e).__name__}: {textwrap.shorten(str(e), 110, placeholder=' …')}"
    return "runs"

name = f"Keras {keras.__version__} on {keras.backend.backend()}"
print(json.dumps({"name": name, "example_1": outcome(example_1), "example_3": outcome(example_3)}))
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What Keras did, or why that is not known."""

    name: str = ""  # and version, and backend
    example_1: str = ""  # "runs", or "raises" what
    example_3: str = ""
    why_not: str = ""


def ask(python: str | None = None, limit: float = LIMIT) -> Answer:
    """Two epochs of each example on tiny data, by this Python or the one given."""
    environment = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ
    command = [python or sys.executable, "-W", "ignore", "-c", SCRIPT]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return Answer(why_not=f"keras did not answer within {limit:.0f} s")
    lines, errors = done.stdout.splitlines(), done.stderr.splitlines()
    if done.returncode:
        return Answer(
            why_not=f"keras ended with {done.returncode}: {errors[-1] if errors else 'it printed nothing'}"
        )
    return Answer(**json.loads(lines[-1]))


def decide(answer: Answer) -> dict[str, Finding]:
    """C12 and C21."""
    return {"C12": _runs(answer, answer.example_3), "C21": _runs(answer, answer.example_1)}


def _runs(answer: Answer, outcome: str) -> Finding:
    if answer.why_not:
        return Finding("not checked", answer.why_not)
    return Finding("holds" if outcome == "runs" else "does not hold", f"{answer.name}: it {outcome}")
