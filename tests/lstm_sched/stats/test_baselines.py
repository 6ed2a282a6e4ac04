"""The baselines are what a plain loop and NumPy's own least squares give, and reach the known answers."""

import tracemalloc

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched.data.series import BEST
from lstm_sched.data.splits import prepare
from lstm_sched.data.windows import as_samples, as_windows
from lstm_sched.stats import baselines


def predicted(forecast, part):
    """prediction_NO and y_NO of all windows."""
    chunks = [(forecast(x_NTF), y_NO) for x_NTF, y_NO in baselines._chunks(part)]
    return tuple(np.concatenate(arrays) for arrays in zip(*chunks, strict=True))


def persistence(part):
    return predicted(baselines.persistence, part)


def mean(train, part):
    return predicted(baselines.fit_mean(train), part)


def linear_ar(train, part):
    return predicted(baselines.fit_linear_ar(train), part)


def mse(predictions):
    prediction_NO, y_NO = predictions
    assert prediction_NO.shape == y_NO.shape
    assert prediction_NO.dtype == y_NO.dtype == np.float64
    return np.mean((prediction_NO - y_NO) ** 2)


def parts(columns=2, horizon=1):
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, columns)).cumsum(axis=0).astype(np.float32) for n in (120, 60)]
    lengths = [np.array([70, 50]), np.array([25, 35])]
    return [as_windows(r, length, 5, horizon) for r, length in zip(rows, lengths, strict=True)]


def everything(part):
    return (np.asarray(leaf, np.float64) for leaf in part.take(np.arange(part.size)))


@pytest.mark.parametrize(("chunk", "horizon"), [(2048, 1), (50, 3), (7, 1)])
def test_forecasts_are_those_of_numpy_on_all_windows_at_once(monkeypatch, chunk, horizon):
    monkeypatch.setattr(baselines, "CHUNK", chunk)
    train, part = parts(horizon=horizon)
    (x, y), (x_test, y_test) = everything(train), everything(part)
    design, design_test = (np.column_stack([np.ones(len(a)), a.reshape(len(a), -1)]) for a in (x, x_test))
    expected = {
        "persistence": x_test[:, -1, :1],
        "mean": np.full_like(y_test, y.mean()),
        "linear_ar": design_test @ np.linalg.lstsq(design, y)[0],
    }
    found = {
        "persistence": persistence(part),
        "mean": mean(train, part),
        "linear_ar": linear_ar(train, part),
    }
    for name, (prediction_NO, y_NO) in found.items():
        np.testing.assert_allclose(prediction_NO, expected[name], atol=1e-10, err_msg=name)
        np.testing.assert_array_equal(y_NO, y_test, err_msg=name)


@pytest.mark.parametrize("chunk", [2048, 3])
def test_fewer_windows_than_coefficients_give_the_solution_of_least_norm(monkeypatch, chunk):
    monkeypatch.setattr(baselines, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    train, part = (as_samples(rng.normal(size=(n, 4, 3)), rng.normal(size=(n, 2))) for n in (8, 5))
    (x, y), (x_test, _) = everything(train), everything(part)
    design, design_test = (np.column_stack([np.ones(len(a)), a.reshape(len(a), -1)]) for a in (x, x_test))
    assert mse(linear_ar(train, train)) < 1e-20
    prediction_NO, _ = linear_ar(train, part)
    np.testing.assert_allclose(prediction_NO, design_test @ (np.linalg.pinv(design) @ y), atol=1e-10)


def test_least_squares_does_not_square_the_condition_number(monkeypatch, x64):
    monkeypatch.setattr(baselines, "CHUNK", 40)
    rng = np.random.default_rng(0)
    near = 1e-7 * rng.normal(size=200)  # two inputs that are almost one: condition about 1e7, squared 1e14
    one = rng.normal(size=200)
    part = as_samples(np.stack([one, one + near], axis=-1)[:, None], 1e7 * near[:, None])
    assert mse(linear_ar(part, part)) < 1e-12


def least_squares(x_NTF, y_NO):
    design = np.column_stack([np.ones(len(x_NTF)), x_NTF.reshape(len(x_NTF), -1)])
    return design @ np.linalg.lstsq(design, y_NO, rcond=baselines.COLLINEAR)[0]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1e-3]), st.integers(0, 9), st.sampled_from([1, 1e3]))
def test_least_squares_is_that_of_numpy_on_designs_of_any_condition(seed, noise, decades, large):
    rng = np.random.default_rng(seed)
    size, coefficients = 300, 8
    left, right = (np.linalg.qr(rng.normal(size=(n, coefficients)))[0] for n in (size, coefficients))
    x = np.sqrt(size) * left * np.logspace(0, -decades, coefficients) @ right.T
    columns = [
        x,
        x[:, :2],
        np.zeros((size, 1)),
        np.full((size, 1), 3.0),
    ]  # two of them twice, and two constants
    x = np.hstack(columns) * np.where(np.arange(12) == 5, large, 1)
    y = x @ rng.normal(size=(12, 2)) + noise * rng.normal(size=(size, 2))
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "CHUNK", 64)
        part = as_samples(x[:, None], y)
        prediction_NO, _ = linear_ar(part, part)
    # What rounding of the design does to a backward-stable solution: condition × residual.
    atol = 1e-13 * np.abs(y).max() + 1e-14 * large * 10**decades * noise
    np.testing.assert_allclose(prediction_NO, least_squares(x[:, None], y), rtol=0, atol=atol)


def test_losses_are_means_of_what_the_forecasts_give_and_no_prediction_is_kept(monkeypatch):
    train, part = parts()
    forecasts = {"mean": baselines.fit_mean(train), "persistence": baselines.persistence}
    expected = {"mean": mse(mean(train, part)), "persistence": mse(persistence(part))}
    for chunk in (2048, 7):
        monkeypatch.setattr(baselines, "CHUNK", chunk)
        found = baselines.losses(forecasts, part, lambda prediction, y: (prediction - y) ** 2)
        assert found == pytest.approx(expected, rel=1e-12)


def test_fitting_and_judging_a_long_series_takes_no_memory_of_its_length():
    def peak(rows):
        part = as_windows(np.random.default_rng(0).normal(size=(rows, 1)), np.array([rows]), 20, 1)
        tracemalloc.start()
        baselines.losses({"AR": baselines.fit_linear_ar(part)}, part, lambda prediction, y: prediction - y)
        return tracemalloc.get_traced_memory()[1]

    try:
        assert peak(60_000) < 1.2 * peak(10_000)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "of_persistence", "of_linear_ar"), [("sunspots", 0.2723, 0.2167), ("weather", 0.1483, 0.1294)]
)
def test_the_baselines_of_the_reported_series_are_these(name, of_persistence, of_linear_ar):
    data = prepare(name, 24).data
    assert mse(persistence(data.test)) == pytest.approx(of_persistence, abs=5e-5)
    assert mse(linear_ar(data.train, data.test)) == pytest.approx(of_linear_ar, abs=5e-5)


def test_a_linear_model_predicts_two_sines_exactly():
    data = prepare("sines", 24).data
    assert mse(linear_ar(data.train, data.test)) < 1e-12


def test_a_linear_model_comes_near_the_best_forecast_of_an_autoregression():
    split = prepare("ar", 24)
    data, best = split.data, BEST["ar"] / split.scale.std_F[0] ** 2
    error = mse(linear_ar(data.train, data.test))
    # 3 standard errors of the mean of N squared normal errors; 25 coefficients were fitted in training.
    assert error == pytest.approx(best * (1 + 25 / data.train.size), rel=3 * (2 / data.test.size) ** 0.5)
    assert mse(persistence(data.test)) > 1.5 * error


def test_nothing_beats_the_mean_on_garch_returns():
    data = prepare("garch", 24).data
    best = mse(mean(data.train, data.test))
    assert best < mse(linear_ar(data.train, data.test)) < mse(persistence(data.test))


def test_the_mean_costs_a_sixth_in_the_adding_problem():
    data = prepare("adding", 20).data
    assert mse(mean(data.train, data.test)) == pytest.approx(1 / 6, rel=0.1)
