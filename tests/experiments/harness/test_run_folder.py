"""Names of folders stay where they are put."""

from experiments.harness import run_folder


def test_names_of_folders_stay_where_they_are_put():
    names = run_folder.safe_names(["../../etc", "a b", "a_b", "..", ""])
    assert names == ["_.._etc", "a_b", "a_b-2", "series", "series-4"]
