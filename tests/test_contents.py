"""A digest tells every bit, and no array is saved under a name that leads elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_sched.contents import compare, describe, digest


def test_a_digest_tells_every_bit():
    tree = {"a": jnp.asarray([1.0, -0.0]), "k": jax.random.key(1)}
    assert digest(tree) == digest({"a": np.array([1.0, -0.0], np.float32), "k": jax.random.key(1)})
    assert digest(tree) != digest(tree | {"a": jnp.asarray([1.0, 0.0])})
    assert digest(tree) != digest(tree | {"k": jax.random.key(2)})


@pytest.mark.fault
@pytest.mark.parametrize("name", ["../../out", "/etc/passwd", "a/b", "a\0b", "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ValueError, match=r"checkpoint: params.*; allowed: a printable name without /"):
        describe({"params": {name: jnp.zeros(1)}}, {})


def test_two_arrays_under_one_name_are_refused():
    with pytest.raises(ValueError, match=r"allowed: .* no other's"):
        describe({"params": {"a.b": jnp.zeros(1), "a": {"b": jnp.zeros(1)}}}, {})


def test_a_component_that_was_not_saved_is_another_configuration():
    record = describe({"params": {"a": jnp.zeros(1)}}, {})
    with pytest.raises(ValueError, match="step holds 0 arrays; this configuration has 1"):
        compare(record, {"step": jnp.zeros(())})
