"""The network that everybody trains, in PyTorch, for scripts that are run by a Python with PyTorch."""

from collections.abc import Sequence
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]


def network(weights: Sequence[Any]) -> Any:
    """nn.LSTM and nn.Linear of tensors in Keras' form. PyTorch has two biases; the second is zero."""
    kernel_FG, recurrent_HG, bias_G, kernel_HO, bias_O = weights
    lstm = nn.LSTM(len(kernel_FG), len(recurrent_HG), batch_first=True)
    model = nn.ModuleDict({"lstm": lstm, "head": nn.Linear(*kernel_HO.shape)})
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
    return model


def loss_of(model: Any, x: Any, y: Any) -> Any:
    """Mean squared error of the prediction from the last step."""
    outputs, _ = model["lstm"](x)
    return nn.functional.mse_loss(model["head"](outputs[:, -1]), y)
