"""What is recorded of arrays tells every bit of them, and every other configuration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_sched.checkpoint.arrays import compare, describe, digest


def test_a_digest_tells_every_bit():
    tree = {"a": jnp.asarray([1.0, -0.0]), "k": jax.random.key(1)}
    assert digest(tree) == digest({"a": np.array([1.0, -0.0], np.float32), "k": jax.random.key(1)})
    assert digest(tree) != digest(tree | {"a": jnp.asarray([1.0, 0.0])})
    assert digest(tree) != digest(tree | {"k": jax.random.key(2)})


def test_a_component_that_was_not_saved_is_another_configuration():
    record = describe({"params": {"a": jnp.zeros(1)}}, {})
    with pytest.raises(ValueError, match="step holds 0 arrays; this configuration has 1"):
        compare(record, {"step": jnp.zeros(())})
