"""PyTorch in the usual loop, asked by lines what to train (loop_peer.py): `python torch_peer.py eager 0`

The arguments are the form, eager or compiled, and the number of threads, where 0 leaves it to PyTorch.
"""

import functools
import sys
from typing import Any

import numpy as np
from loop_peer import introduce, serve, train  # next to this file: its Python need not have this project

FORM, THREADS = (sys.argv[1], int(sys.argv[2])) if len(sys.argv) == 3 else ("eager", 0)


@functools.cache
def tensors(path: str, device: str) -> dict[str, Any]:
    import torch  # pyright: ignore[reportMissingImports]

    return {name: torch.from_numpy(array).to(device) for name, array in np.load(path).items()}


def network(task: dict[str, Any], member: int) -> Any:
    """A new network; its second bias is frozen, so that the sum of both moves as in the other packages."""
    import torch_network

    arrays = tensors(task["data"], task["device"])
    weights = [arrays[f"weights_{n}"][member] for n in range(5)]
    model = torch_network.network(weights).to(task["device"])
    model["lstm"].bias_hh_l0.requires_grad_(False)
    return model


@functools.cache
def loss_function() -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from torch_network import loss_of

    return torch.compile(loss_of) if FORM == "compiled" else loss_of


def optimizer(model: Any, rate: float) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate, eps=1e-7)


def fit(task: dict[str, Any], model: Any, rule: Any, epochs: int) -> tuple[Any, Any, float]:
    data, batch = tensors(task["data"], task["device"]), task["batch"]
    loss_of, mean = loss_function(), 0.0
    for _ in range(epochs):
        losses = []
        for x, y in zip(data["X"].split(batch), data["y"].split(batch), strict=True):
            loss = loss_of(model, x, y)
            rule.zero_grad()
            loss.backward()
            rule.step()
            losses.append(loss.detach())
        mean = float(sum(losses)) / len(losses)
    return model, rule, mean


def begin(task: dict[str, Any], member: int, rate: float) -> tuple[Any, Any]:
    model = network(task, member)
    return model, optimizer(model, rate)


def main() -> None:
    greeting = introduce("torch")
    if "version" in greeting:
        import torch  # pyright: ignore[reportMissingImports]

        if THREADS:
            torch.set_num_threads(THREADS)
        greeting["version"] += f", {torch.get_num_threads()} threads"
        if torch.cuda.is_available():
            greeting["version"] += f", {torch.cuda.get_device_name()}"
            torch.backends.cudnn.allow_tf32 = False  # as JAX multiplies (process.py)
            torch.backends.cuda.matmul.allow_tf32 = False
    serve(greeting, functools.partial(train, network, optimizer, fit, begin))


if __name__ == "__main__":
    main()
