"""Values as they are typed, and where a number between 0 and 1 lies among them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep import values as va
from experiments.sweep.values import Range

TYPED = [
    (float, ("1e-4", "3e-4"), (1e-4, 3e-4)),
    (float, (1e-4, 3e-4), (1e-4, 3e-4)),
    (int, ("32", "64"), (32, 64)),
    (int, ("8:24",), Range(low=8, high=24, whole=True)),
    (int, ("4", "8:11"), (4, 8, 9, 10)),
    (int, ("8:257:log",), Range(low=8, high=257, log=True, whole=True)),
    (float, ("1e-5:1e-1:log",), Range(low=1e-5, high=1e-1, log=True)),
    (float, ("0:0.5",), Range(low=0.0, high=0.5)),
    (str, ("one_fit", "drop_m@2"), ("one_fit", "drop_m@2")),
    (str, ("a:b",), ("a:b",)),
    (bool, ("true", "False"), (True, False)),
    (bool, (True, False), (True, False)),
    (int, (), ()),
]

REFUSED = [
    (float, ("1e-3x",), "lr: '1e-3x'; allowed: numbers such as 1e-3"),
    (int, ("1.5",), "lr: '1.5'; allowed: whole numbers such as 8 or 8:24"),
    (bool, ("yes",), "lr: 'yes'; allowed: true, false"),
    (int, ("8", "9", "8"), "lr: 8 is given twice; allowed: each value once"),
    (int, ("10", "8:12"), "lr: 10 is given twice"),
    (int, ("24:8",), "lr: '24:8' is empty; allowed: low:high with low below high"),
    (int, ("8:8",), "lr: '8:8' is empty"),
    (float, ("1:nan",), "lr: '1:nan' is empty"),
    (float, ("0:inf",), "lr: '0:inf' is empty"),
    (float, ("0:1:log",), "lr: '0:1:log'; allowed on a log scale: above 0"),
    (float, ("1:2:lin",), "lr: '1:2:lin'; allowed: low:high or low:high:log"),
    (float, ("1:2:log:3",), "lr: '1:2:log:3'; allowed: low:high or low:high:log"),
    (int, ("a:3",), "lr: 'a' in 'a:3'; allowed: whole numbers"),
    (float, ("1e-3", "1e-2:1e-1"), "lr: 0.01:0.1 is a range to draw from; allowed: a list"),
    (int, ("3", f"4:{10**9}"), "is too many; allowed: up to 100000 values"),
]


@pytest.mark.parametrize(("kind", "words", "values"), TYPED)
def test_words_are_parsed_to_the_fields_type(kind, words, values):
    parsed = va.parse("lr", kind, words)
    assert parsed == values
    assert isinstance(parsed, Range) or all(type(value) is kind for value in parsed)


@pytest.mark.parametrize(("kind", "words", "message"), REFUSED)
def test_another_word_is_refused_with_field_value_and_what_is_allowed(kind, words, message):
    with pytest.raises(ValueError) as refused:
        va.parse("lr", kind, words)
    assert message in str(refused.value)


def test_a_list_is_made_of_whole_numbers_alone():
    assert va.listed("grid.seed", Range(low=8, high=24, whole=True)) == tuple(range(8, 24))
    for drawn in (Range(low=0.1, high=0.2), Range(low=1, high=9, log=True, whole=True)):
        with pytest.raises(
            ValueError, match=r"is a range to draw from; .* --search.lr, with --search.trials"
        ):
            va.listed("grid.lr", drawn)


@given(st.floats(0, 1, exclude_max=True), st.integers(-50, 50), st.integers(1, 50), st.floats(1.001, 1e6))
def test_values_are_drawn_evenly(u, low, size, factor):
    assert va.at(tuple(range(size)), u) == min(math.floor(u * size), size - 1)
    assert va.at(Range(low=low, high=low + size, whole=True), u) in range(low, low + size)
    assert va.at(Range(low=-1.0, high=3.0), u) == pytest.approx(-1 + 4 * u)
    least = 10.0**low
    value = va.at(Range(low=least, high=least * factor, log=True), u)
    assert least <= value <= least * factor
    assert math.log(value / least) == pytest.approx(u * math.log(factor), abs=1e-9)


def test_whole_numbers_on_a_log_scale_are_those_below_it():
    values = {va.at(Range(low=1, high=9, log=True, whole=True), i / 1000) for i in range(1000)}
    assert values == set(range(1, 9))


@pytest.mark.parametrize("words", ["8:24", "1e-05:0.1:log", "0.5 1.0"])
def test_text_is_what_would_be_typed(words):
    kind = int if words == "8:24" else float
    assert va.text(va.parse("lr", kind, tuple(words.split()))) == words
