"""The real PyTorch, told what to do by a file: run by a Python that has it, which need not have this package.

    python conformance_torch.py data.npz told.json said.json

As conformance_keras.py, but with the order of each epoch given, and the optimizer's own loop written out.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def train(told: dict[str, Any], data: Any, common: dict[str, Any]) -> dict[str, Any]:
    """One row: nn.LSTM and nn.Linear, an optimizer of torch.optim kept, or rebuilt every so many epochs."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    dtype = torch.float64 if told.get("wide") else torch.float32
    hidden, batch, epochs = common["hidden"], common["batch"], common["epochs"]
    model = nn.ModuleDict(
        {"lstm": nn.LSTM(data["X"].shape[2], hidden, batch_first=True), "head": nn.Linear(hidden, 1)}
    )
    kernel_FG, recurrent_HG, bias_G, kernel_HO, bias_O = (
        torch.from_numpy(data[f"weights_{n}"]) for n in range(5)
    )
    model.load_state_dict(
        {
            "lstm.weight_ih_l0": kernel_FG.T,
            "lstm.weight_hh_l0": recurrent_HG.T,
            "lstm.bias_ih_l0": bias_G,
            "lstm.bias_hh_l0": torch.zeros_like(bias_G),
            "head.weight": kernel_HO.T,
            "head.bias": bias_O,
        }
    )
    model.to(dtype)
    keywords = {name: value for name, value in told.items() if name not in ("optimizer", "every", "wide")}
    tensors = {name: torch.from_numpy(data[name]).to(dtype) for name in ("X", "y", "Xv", "yv")}

    def optimizer() -> Any:
        return getattr(torch.optim, told["optimizer"])(model.parameters(), **keywords)

    def loss_of(x: Any, y: Any) -> Any:
        outputs, _ = model["lstm"](x)
        return nn.functional.mse_loss(model["head"](outputs[:, -1]), y)

    own, log = optimizer(), []
    for epoch in range(epochs):
        if epoch and epoch % told.get("every", epochs) == 0:
            own = optimizer()
        total = 0.0
        for some in torch.from_numpy(data["orders"][epoch]).split(batch):
            loss = loss_of(tensors["X"][some], tensors["y"][some])
            own.zero_grad()
            loss.backward()
            own.step()
            total += float(loss) * len(some)
        with torch.no_grad():
            val = float(loss_of(tensors["Xv"], tensors["yv"]))
        log.append([total / len(tensors["X"]), val])
    weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return {"log": log, "weights": weights}


def main(data: str, told: str, said: str) -> None:
    """All rows."""
    if importlib.util.find_spec("torch") is None:
        answer: dict[str, Any] = {"why_not": "torch is not installed"}
    else:
        import numpy as np
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(1)
        asked, arrays = json.loads(Path(told).read_text(encoding="utf-8")), dict(np.load(data))
        rows = {row: train(what, arrays, asked["common"]) for row, what in asked["rows"].items()}
        answer = {"version": f"torch {torch.__version__}", "rows": rows}
    Path(said).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
