"""All windows of a part, taken by one compiled program whatever the number of rows."""

import dataclasses

import jax
import numpy as np

from lstm_sched.data.windows import Windows

MOST = 256  # rows, windows and stretches of the parts that are taken

_take = jax.jit(lambda part, i_B: part.take(i_B))


def everything(part):
    """x_NTF and y_NO of all windows, as they are stored."""
    assert isinstance(part, Windows) and part.size <= MOST
    rows_RF, last = np.asarray(part.rows_RF), np.iinfo(np.int32).max
    padded = dataclasses.replace(
        part,
        rows_RF=np.pad(rows_RF, ((0, MOST - len(rows_RF)), (0, 0)), constant_values=np.nan),
        first_S=np.pad(part.first_S, (0, MOST - len(part.first_S))),
        begin_S=np.pad(part.begin_S, (0, MOST - len(part.begin_S)), constant_values=last),
        size=0,
    )
    x_NTF, y_NO = _take(padded, np.minimum(np.arange(MOST), part.size - 1))
    return np.asarray(x_NTF)[: part.size], np.asarray(y_NO)[: part.size]
