"""The real PyTorch, told rows by a file: see loop_rows.py.

The order of each epoch is given, and the optimizer's own loop written out.
"""

from typing import Any

from loop_rows import run


def train(told: dict[str, Any], data: Any, common: dict[str, Any]) -> dict[str, Any]:
    """One row: nn.LSTM and nn.Linear, an optimizer of torch.optim kept, or rebuilt every so many epochs."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch_network import loss_of, network

    torch.set_num_threads(1)
    dtype = torch.float64 if told.get("wide") else torch.float32
    batch, epochs = common["batch"], common["epochs"]
    model = network([torch.from_numpy(data[f"weights_{n}"]) for n in range(5)]).to(dtype)
    keywords = {name: value for name, value in told.items() if name not in ("optimizer", "every", "wide")}
    tensors = {name: torch.from_numpy(data[name]).to(dtype) for name in ("X", "y", "Xv", "yv")}

    def optimizer() -> Any:
        return getattr(torch.optim, told["optimizer"])(model.parameters(), **keywords)

    own, log = optimizer(), []
    for epoch in range(epochs):
        if epoch and epoch % told.get("every", epochs) == 0:
            own = optimizer()
        total = 0.0
        for some in torch.from_numpy(data["orders"][epoch]).split(batch):
            loss = loss_of(model, tensors["X"][some], tensors["y"][some])
            own.zero_grad()
            loss.backward()
            own.step()
            total += float(loss) * len(some)
        with torch.no_grad():
            val = float(loss_of(model, tensors["Xv"], tensors["yv"]))
        log.append([total / len(tensors["X"]), val])
    weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return {"log": log, "weights": weights}


if __name__ == "__main__":
    run(train, "torch")
