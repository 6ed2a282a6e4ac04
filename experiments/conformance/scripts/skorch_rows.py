"""The real skorch, told rows by a file: see loop_rows.py.

Each module that skorch makes takes the next of the given draws for its weights.
"""

import itertools
from typing import Any

from loop_rows import run


def train(told: dict[str, Any], data: Any, common: dict[str, Any]) -> dict[str, Any]:
    """One row: NeuralNetRegressor's `fit` or `partial_fit`, called again every so many epochs."""
    import torch  # pyright: ignore[reportMissingImports]
    from skorch import NeuralNetRegressor  # pyright: ignore[reportMissingImports]
    from skorch.dataset import Dataset  # pyright: ignore[reportMissingImports]
    from skorch.helper import predefined_split  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
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


if __name__ == "__main__":
    run(train, "skorch", "torch")
