"""The real skorch, told what to do by a file: run by a Python that has it, which need not have this package.

    python conformance_skorch.py data.npz told.json said.json

As conformance_keras.py. Each module that skorch makes takes the next of the given draws for its weights.
"""

import importlib.util
import itertools
import json
import sys
from pathlib import Path
from typing import Any


def train(told: dict[str, Any], data: Any, common: dict[str, Any]) -> dict[str, Any]:
    """One row: NeuralNetRegressor's `fit` or `partial_fit`, called again every so many epochs."""
    import torch  # pyright: ignore[reportMissingImports]
    from skorch import NeuralNetRegressor  # pyright: ignore[reportMissingImports]
    from skorch.dataset import Dataset  # pyright: ignore[reportMissingImports]
    from skorch.helper import predefined_split  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    x, xv = (torch.from_numpy(data[name]).flatten(1).double() for name in ("X", "Xv"))
    y, yv = (torch.from_numpy(data[name]).double() for name in ("y", "yv"))
    epochs, every, numbers = common["epochs"], told["every"], itertools.count()
    names = ("0.weight", "0.bias", "2.weight", "2.bias")

    def module() -> Any:
        number, hidden = next(numbers), common["hidden"]
        net = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
        draw = {name: torch.from_numpy(data[f"draw_{number}_{i}"]).t() for i, name in enumerate(names)}
        net.load_state_dict(draw)
        return net

    keywords = told["keywords"] | {"optimizer": getattr(torch.optim, told["keywords"]["optimizer"])}
    net = NeuralNetRegressor(
        module,
        max_epochs=every,
        batch_size=common["batch"],
        train_split=predefined_split(Dataset(xv, yv)),
        verbose=0,
        **keywords,
    )
    log = []
    for _ in range(0, epochs, every):
        getattr(net, told["call"])(x, y)
        log += net.history[-every:, ("train_loss", "valid_loss")]
    state = net.module_.state_dict()
    weights = {str(n): state[name].t().tolist() for n, name in enumerate(names)}
    return {"log": log, "weights": weights}


def main(data: str, told: str, said: str) -> None:
    """All rows."""
    missing = [name for name in ("skorch", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        answer: dict[str, Any] = {"why_not": f"{missing[0]} is not installed"}
    else:
        import numpy as np
        import skorch  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(1)
        asked, arrays = json.loads(Path(told).read_text(encoding="utf-8")), dict(np.load(data))
        rows = {row: train(what, arrays, asked["common"]) for row, what in asked["rows"].items()}
        version = f"skorch {skorch.__version__}, torch {torch.__version__}"
        answer = {"version": version, "rows": rows}
    Path(said).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
