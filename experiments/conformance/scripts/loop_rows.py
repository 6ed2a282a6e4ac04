"""What the scripts of `conformance` share: rows told by a file, carried out, and answered in another. They are run by
a Python that has a package and need not have this one.

    [KERAS_BACKEND=jax] python keras_rows.py data.npz told.json said.json

`said.json` holds versions and, for each row, loss and validation loss of each epoch (null where none was trained) and
the weights when the last fit has returned, or the error that was raised; or only `why_not`.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loop_peer import introduce  # beside this file: the Python that runs it need not have the package


def run(
    train: Callable[[dict[str, Any], Any, dict[str, Any]], dict[str, Any]],
    *packages: str,
    raises: tuple[type[Exception], ...] = (),
) -> None:
    """Every row by `train(told, data, common)`, where the packages are; an error of these types is part of what a row
    says."""
    data, told, said = map(Path, sys.argv[1:])
    answer: dict[str, Any] = introduce(*packages)
    if "version" in answer:
        import numpy as np

        asked, arrays = json.loads(told.read_text(encoding="utf-8")), dict(np.load(data))
        answer["rows"] = {}
        for name, row in asked["rows"].items():
            try:
                answer["rows"][name] = train(row, arrays, asked["common"])
            except raises as error:
                answer["rows"][name] = {"raised": f"{type(error).__name__}: {error}"}
    said.write_text(json.dumps(answer), encoding="utf-8")
