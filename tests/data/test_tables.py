"""Sequences from tables in memory: grouping of rows, and errors."""

from __future__ import annotations

import datetime
import decimal
import sys

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import (
    Sequences,
    Windows,
    read_csv_sequences,
    sequences_from_table,
)

TABLE = {
    "id": ["a", "b", "a", "c", "b", "a"],
    "x": [1, -1e3, 3, 7, 8, 2],
    "y": np.array([2, 0, 4.5, 1, 1, 0]),
    "time": [0, 1, 5, 3, 0, 4],
    "label": ["up", "down", "up", "up", "down", "up"],
    "age": [0.5, 7, 0.5, 1, 7, 0.5],
}


def of(table=None, *arguments, **options):
    changed = {**TABLE, **(table or {})}
    return sequences_from_table(changed, *(arguments or ("id", "x")), **options)


def lists(arrays):
    return [array.tolist() for array in arrays]


# ----------------------------------------------------------------------- what comes out


def test_rows_of_one_id_are_a_sequence_in_the_order_of_the_table():
    ids, sequences, targets, classes = of({}, "id", ["y", "x"], "label")
    assert ids == ["a", "b", "c"]
    assert lists(sequences) == [
        [[2, 1], [4.5, 3], [0, 2]],
        [[0, -1000], [1, 8]],
        [[1, 7]],
    ]
    assert sequences[0].dtype == np.float32
    assert targets == [1, 0, 1]
    assert classes == ("down", "up")


def test_a_time_column_sorts_the_rows_of_each_sequence():
    assert lists(of(time_column="time").sequences) == [
        [[1], [2], [3]],
        [[8], [-1000]],
        [[7]],
    ]


@pytest.mark.parametrize(
    "time",
    [
        lambda n: datetime.date(2020, 1, 1) + datetime.timedelta(n),
        lambda n: np.datetime64("2020-01-01") + n,
        lambda n: f"2020-01-0{n + 1}",
        lambda n: n * 0.5 - 1,
        lambda n: 2**60 + n,
        lambda n: decimal.Decimal(n) / 10,
    ],
)
def test_times_of_any_kind_sort(time):
    times = [time(n) for n in TABLE["time"]]
    wanted = of(time_column="time").sequences
    for column in (times, np.array(times)):
        got = of({"time": column}, time_column="time").sequences
        assert lists(got) == lists(wanted)


def test_rows_of_the_same_time_stay_in_their_order():
    for time in ([1, 1, 1, 1, 1, 0], list("bbbbba")):
        data = of({"time": time}, time_column="time")
        assert lists(data.sequences)[0] == [[2], [1], [3]]


def test_without_an_id_the_table_is_one_series():
    data = of({}, None, ["x", "y"], time_column="time")
    assert data.ids == [None]
    assert data.sequences[0][:, 0].tolist() == [1, 8, -1000, 7, 2, 3]
    windows = Windows(data.sequences, given=3, ahead=2, shuffle=False)
    assert windows.count == 2
    assert windows[0][2][:, 0, 0].tolist() == [7, 2]


@pytest.mark.parametrize(
    "ids",
    [
        [4, 2, 4, 9, 2, 4],
        [datetime.date(2020, 1, day) for day in (4, 2, 4, 9, 2, 4)],
        [True, False, True, None, False, True],
    ],
)
def test_ids_of_any_kind_tell_sequences_apart(ids):
    data = of({"id": ids}, missing="skip")
    assert data.ids == [i for i in (ids[0], ids[1], ids[3]) if i is not None]
    assert lists(data.sequences)[:2] == lists(of().sequences)[:2]


def test_targets_of_each_step():
    table = {"label": ["up", "down", "down", "up", "down", "up"]}
    data = of(table, "id", "x", "label", per_step=True)
    assert lists(data.targets) == [[1, 0, 1], [0, 0], [1]]
    data = of({}, "id", "x", "y", target="value", per_step=True, time_column="time")
    assert lists(data.targets) == [[2, 0, 4.5], [1, 0], [1]]


def test_targets_that_are_numbers():
    data = of({}, "id", "x", "age", target="value")
    assert data.targets == [0.5, 7, 1]
    assert data.classes is None


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 10, 10, 9, 10], (9, 10)),
        ([10.0, 9.0, 10.0, 10.0, 9.0, 10.0], (9, 10)),
        (np.array([10, 9, 10, 10, 9, 10], np.uint8), (9, 10)),
        ([True, False, True, True, False, True], (0, 1)),
        (["10", "9", "10", "10", "9", "10"], ("9", "10")),
    ],
)
def test_classes_are_whole_numbers_or_text_in_their_order(labels, classes):
    data = of({"label": labels}, "id", "x", "label")
    assert data.classes == classes
    assert [type(c) for c in data.classes] == [type(c) for c in classes]
    assert data.targets == [1, 0, 1]


def test_classes_of_another_table_keep_their_numbers():
    data = of({}, "id", "x", "label", classes=["up", "left", "down"])
    assert data.targets == [0, 2, 0]
    assert data.classes == ("up", "left", "down")
    words = ["row 1", "'label'", "'up', 'left'", "got 'down'"]
    call = {"classes": ["up", "left"]}
    refuses(ValueError, words, of, {}, "id", "x", "label", **call)


def test_a_table_gives_what_its_csv_file_gives(tmp_path):
    path = tmp_path / "table.csv"
    rows = sorted(zip(*(TABLE[n] for n in ("id", "x", "y", "label")), strict=True),
                  key=lambda row: row[0])  # fmt: skip
    lines = ["id,x,y,label", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines))
    read = read_csv_sequences(path, "id", ["x", "y"], "label")
    made = of({}, "id", ["x", "y"], "label")
    assert read[0] == made[0]
    assert lists(read.sequences) == lists(made.sequences)
    assert read[2:] == made[2:]


def test_sequences_are_what_sequences_takes():
    data = of({}, "id", ["x", "y"], "label", dtype=np.float64)
    batches = Sequences(data.sequences, data.targets, 2, dtype=np.float64)
    assert batches.input_size == 2
    assert sorted(batches.lengths.tolist()) == [1, 2, 3]


# ----------------------------------------------------------------------- missing values


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x", None),
        ("x", np.nan),
        ("id", None),
        ("id", np.nan),
        ("label", None),
        ("label", np.nan),
        ("time", None),
        ("time", np.datetime64("NaT")),
    ],
)
def test_a_missing_value_is_an_error_or_leaves_its_sequence_out(column, value):
    table = {column: list(TABLE[column])}
    table[column][4] = value
    arguments = (table, "id", ["x", "y"], "label")
    words = ["row 4", f"'{column}'", "missing", "skip"]
    refuses(ValueError, words, of, *arguments, time_column="time")
    data = of(*arguments, time_column="time", missing="skip")
    assert data.skipped == 1
    # A row without an id is a sequence of its own.
    assert data.ids == (["a", "b", "c"] if column == "id" else ["a", "c"])
    assert data.classes == (("down", "up") if column == "id" else ("up",))
    assert lists(data.sequences)[0] == [[1, 2], [2, 0], [3, 4.5]]


def test_values_missing_in_other_columns_do_not_matter():
    assert of({"y": [np.nan] * 6}, "id", "x", "label").skipped == 0


def test_a_masked_value_is_missing():
    masked = np.ma.masked_equal(TABLE["y"], 4.5)
    refuses(ValueError, ["row 2", "'y'", "missing"], of, {"y": masked}, "id", "y")
    assert of({"y": masked}, "id", "y", missing="skip").ids == ["b", "c"]


def test_rows_without_an_id_that_follow_one_another_are_one_sequence():
    for ids, skipped in (
        ([None, None, "a", None, "b", None], 3),
        ([None, "a", "a", "b", None, None], 2),
        (["a", None, None, None, "b", "b"], 1),
    ):
        data = of({"id": ids}, missing="skip")
        assert (data.ids, data.skipped) == (["a", "b"], skipped)


def test_at_least_one_sequence_has_to_be_whole():
    refuses(ValueError, ["frame", "all 3 were left out"], of,
            {"x": [None] * 6}, missing="skip")  # fmt: skip
    refuses(ValueError, ["frame", "all 1 were left out"], of,
            {"id": [None] * 6}, missing="skip")  # fmt: skip


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("table", "arguments", "options", "error", "words"),
    [
        ({}, ("name", "x"), {}, ValueError, ["id_column", "'time'", "got 'name'"]),
        ({}, ("id", "z"), {}, ValueError, ["feature_columns", "got 'z'"]),
        ({}, ("id", ["x", "z"]), {}, ValueError, ["feature_columns", "got 'z'"]),
        ({}, ("id", "x", "z"), {}, ValueError, ["target_column", "got 'z'"]),
        ({}, ("id", "x"), {"time_column": "z"}, ValueError, ["time_column", "'z'"]),
        ({}, ("id", []), {}, ValueError, ["feature_columns", "none"]),
        ({}, ("id", 3), {}, TypeError, ["feature_columns", "3"]),
        ({}, ("id", "label"), {}, TypeError, ["feature_columns", "'label'", "'up'"]),
        ({"x": [1, 2, 3, 4, "5", 6]}, ("id", "x"), {}, TypeError, ["'x'", "'5'"]),
        ({"x": [1, 1e39, 3, 4, 5, 6]}, ("id", "x"), {}, ValueError,
         ["row 1", "'x'", "finite number in float32", "1e+39"]),
        ({"x": [1, 2, -np.inf, 4, 5, 6]}, ("id", "x"), {"missing": "skip"}, ValueError,
         ["row 2", "'x'", "finite", "-inf"]),
        ({"x": [1, 2]}, ("id", "x"), {}, ValueError, ["frame['x']", "6 rows", "got 2"]),
        ({"x": np.ones((6, 2))}, ("id", "x"), {}, ValueError, ["frame['x']", "(6, 2)"]),
        ({"x": 3}, ("id", "x"), {}, ValueError, ["frame['x']", "()"]),
        ({"id": [[1]] * 6}, ("id", "x"), {}, ValueError, ["frame['id']"]),
        ({}, ("id", "x", "time"), {}, ValueError,
         ["row 2", "'time'", "same in all rows", "0 and 5"]),
        ({}, ("id", "x", "age"), {}, ValueError, ["row 0", "'age'", "class", "0.5"]),
        ({"label": ["u", "d", "u", 1, "d", "u"]}, ("id", "x", "label"), {}, TypeError,
         ["target_column", "'label'", "both"]),
        ({}, ("id", "x", "label"), {"target": "value"}, TypeError,
         ["target_column", "numbers", "'up'"]),
        ({"time": [1, "a", 2, 3, 4, 5]}, ("id", "x"), {"time_column": "time"},
         TypeError, ["time_column", "sorted", "'time'"]),
        ({}, ("id", "x"), {"missing": "no"}, ValueError, ["missing", "'no'"]),
        ({}, ("id", "x"), {"target": "no"}, ValueError, ["target", "'no'"]),
        ({}, ("id", "x"), {"dtype": int}, TypeError, ["dtype"]),
        ({}, ("id", "x", "label"), {"classes": []}, ValueError, ["classes"]),
        ({}, ("id", "x", "label"), {"classes": ["a", "a"]}, ValueError, ["classes"]),
        ({}, ("id", "x", "label"), {"classes": [0.5]}, TypeError, ["classes"]),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(table, arguments, options, error, words):
    refuses(error, words, of, table, *arguments, **options)


@pytest.mark.parametrize("frame", [None, 3, "table", [1, 2], np.ones((3, 2)), dict])
def test_what_is_no_table_is_refused(frame):
    refuses(TypeError, ["frame", "data frame"], sequences_from_table, frame, None, "x")


def test_a_table_without_rows_is_refused():
    for table in ({}, {"x": []}):
        words = ["frame", "at least one row"]
        refuses(ValueError, words, sequences_from_table, table, None, "x")


def test_missing_package_is_named(monkeypatch):
    class DataFrame:
        columns = ("x",)

    monkeypatch.setitem(sys.modules, "narwhals", None)
    words = ["pip install narwhals"]
    refuses(ImportError, words, sequences_from_table, DataFrame(), None, "x")
