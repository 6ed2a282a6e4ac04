"""PyTorch in the loop that everybody writes, told by lines what to train: `python torch_peer.py eager 0`
(loop_peer.py). Beside the form, eager or compiled, the number of threads; 0 is its own choice."""

import functools
import sys
import time
from typing import Any

import numpy as np
from loop_peer import introduce, serve  # beside this file: the Python that runs it need not have the package

FORM, THREADS = (sys.argv[1], int(sys.argv[2])) if len(sys.argv) == 3 else ("eager", 0)


@functools.cache
def tensors(path: str, device: str) -> dict[str, Any]:
    import torch  # pyright: ignore[reportMissingImports]

    return {name: torch.from_numpy(array).to(device) for name, array in np.load(path).items()}


def network(told: dict[str, Any], member: int) -> Any:
    """With a member's weights; the second bias is frozen, so that the sum of both moves as in the other packages."""
    import torch_network

    device = told.get("device", "cpu")
    arrays = tensors(told["data"], device)
    model = torch_network.network([arrays[f"weights_{n}"][member] for n in range(5)]).to(device)
    model["lstm"].bias_hh_l0.requires_grad_(False)
    return model


@functools.cache
def compiled() -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from torch_network import loss_of

    return torch.compile(loss_of) if FORM == "compiled" else loss_of


def adam(model: Any, rate: float) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate, eps=1e-7)


def fit(model: Any, optimizer: Any, told: dict[str, Any], epochs: int) -> float:
    """The last epoch's loss."""
    data = tensors(told["data"], told.get("device", "cpu"))
    batch, loss_fn, total = told["batch"], compiled(), 0.0
    for _ in range(epochs):
        losses = []
        for x, y in zip(data["X"].split(batch), data["y"].split(batch), strict=True):
            loss = loss_fn(model, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        total = float(sum(losses)) / len(losses)
    return total


def train(told: dict[str, Any]) -> dict[str, Any]:
    """Each member in turn."""
    seconds, losses = 0.0, []
    for member, rate in told["members"]:
        model = network(told, member)
        optimizer = adam(model, rate)
        began, loss = time.perf_counter(), float("nan")
        whole = told["arm"] == "one_call"
        for call in range(1 if whole else told["epochs"]):
            if told["arm"] == "scratch" and call:
                model = network(told, member)
            if told["arm"] in ("recompile", "scratch"):
                optimizer = adam(model, rate)
            loss = fit(model, optimizer, told, told["epochs"] if whole else 1)
        seconds += time.perf_counter() - began
        losses.append(loss)
    return {"seconds": seconds, "loss": losses}


def main() -> None:
    said = introduce("torch")
    if "version" in said:
        import torch  # pyright: ignore[reportMissingImports]

        if THREADS:
            torch.set_num_threads(THREADS)
        said["version"] += f", {torch.get_num_threads()} threads"
        if torch.cuda.is_available():
            said["version"] += f", {torch.cuda.get_device_name()}"
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = (
                False  # as peers.opened for JAX
            )
    serve(said, train)


if __name__ == "__main__":
    main()
