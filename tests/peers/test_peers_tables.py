"""Sequences from data frames of pandas, polars and Arrow."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import sequences_from_table

pytest.importorskip("narwhals")
pytestmark = pytest.mark.peers

DAY = datetime.datetime(2020, 1, 1)
TABLE = {
    "id": ["a", "b", "a", "c", "b", "a"],
    "number": [4, 2, 4, 9, 2, 4],
    "x": [1.0, -1e3, 3.0, 7.0, 8.0, 2.0],
    "n": [1, 2, 3, 4, 5, 2**24],
    "flag": [True, False, True, True, False, True],
    "time": [DAY + datetime.timedelta(hours=h) for h in (0, 1, 5, 3, 0, 4)],
    "label": ["up", "down", "up", "up", "down", "up"],
}


def pandas(table):
    return pytest.importorskip("pandas").DataFrame(table)


def pandas_arrow(table):
    pytest.importorskip("pyarrow")
    return pandas(table).convert_dtypes(dtype_backend="pyarrow")


def pandas_nullable(table):
    return pandas(table).convert_dtypes()


def polars(table):
    return pytest.importorskip("polars").DataFrame(table)


def arrow(table):
    return pytest.importorskip("pyarrow").table(table)


def batch(table):
    return pytest.importorskip("pyarrow").RecordBatch.from_pydict(table)


MAKERS = [pandas, pandas_arrow, pandas_nullable, polars, arrow, batch]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def make(request):
    return request.param


def same(one, other):
    assert one.ids == other.ids
    assert [s.tobytes() for s in one.sequences] == [
        s.tobytes() for s in other.sequences
    ]
    assert one.targets == other.targets
    assert one.classes == other.classes
    assert one.skipped == other.skipped


@pytest.mark.parametrize("id_column", ["id", "number", "flag", None])
@pytest.mark.parametrize("time_column", ["time", None])
@pytest.mark.parametrize("target_column", ["label", "number", "flag", None])
def test_a_frame_gives_what_its_columns_give(
    make, id_column, time_column, target_column
):
    arguments = (id_column, ["x", "n", "flag"], target_column)
    options = {"time_column": time_column, "per_step": False}
    if target_column is not None and id_column not in ("id", "number"):
        options["per_step"] = True
    made = sequences_from_table(make(TABLE), *arguments, **options)
    wanted = sequences_from_table(TABLE, *arguments, **options)
    if options["per_step"]:
        made, wanted = (
            data._replace(targets=[t.tolist() for t in data.targets])
            for data in (made, wanted)
        )
    same(made, wanted)


@pytest.mark.parametrize("column", ["id", "number", "x", "n", "flag", "time", "label"])
def test_a_null_is_missing_in_every_column(make, column):
    table = {**TABLE, column: [*TABLE[column][:4], None, TABLE[column][5]]}
    id_column = "number" if column == "number" else "id"
    arguments = (id_column, ["x", "n", "flag"], "label")
    words = ["row 4", f"'{column}'", "missing"]
    frame = make(table)
    refuses(ValueError, words, sequences_from_table, frame, *arguments,
            time_column="time")  # fmt: skip
    options = {"time_column": "time", "missing": "skip"}
    made = sequences_from_table(frame, *arguments, **options)
    assert made.skipped == 1
    same(made, sequences_from_table(table, *arguments, **options))


def test_nan_is_missing_as_null_is():
    frame = polars({"x": [1.0, float("nan"), 3.0], "id": [1, 1, 2]})
    refuses(ValueError, ["row 1", "'x'"], sequences_from_table, frame, "id", "x")
    data = sequences_from_table(frame, "id", "x", missing="skip")
    assert (data.ids, data.skipped) == ([2], 1)


def test_categories_are_text():
    for frame in (
        pandas(TABLE).astype({"label": "category", "id": "category"}),
        polars(TABLE).cast({"label": pytest.importorskip("polars").Categorical}),
    ):
        data = sequences_from_table(frame, "id", "x", "label")
        assert data.ids == ["a", "b", "c"]
        assert data.classes == ("down", "up")


def test_an_index_of_pandas_plays_no_part():
    frame = pandas(TABLE).set_index("id").iloc[::-1]
    refuses(
        ValueError, ["id_column", "got 'id'"], sequences_from_table, frame, "id", "x"
    )
    same(
        sequences_from_table(frame.reset_index().iloc[::-1], "id", "x"),
        sequences_from_table(TABLE, "id", "x"),
    )


def test_times_with_a_zone_sort():
    frame = pandas(TABLE)
    frame["time"] = frame["time"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    wanted = sequences_from_table(TABLE, "id", "x", time_column="time")
    same(sequences_from_table(frame, "id", "x", time_column="time"), wanted)


def test_what_is_no_frame_of_rows_says_the_way():
    lazy, series = polars(TABLE).lazy(), pandas(TABLE)["x"]
    refuses(TypeError, ["frame", "frame.collect()"], sequences_from_table, lazy,
            None, "x")  # fmt: skip
    refuses(TypeError, ["frame", "frame.to_frame()"], sequences_from_table, series,
            None, "x")  # fmt: skip
    twice = pandas(TABLE).rename(columns={"n": "x"})
    refuses(TypeError, ["frame", "different names"], sequences_from_table, twice,
            None, "x")  # fmt: skip


def test_decimals_and_narrow_numbers_are_numbers():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(
        {
            "x": pyarrow.array([1, 2], pyarrow.decimal128(5, 2)),
            "y": pyarrow.array([1, 2], pyarrow.int8()),
            "z": pyarrow.array([1, 2], pyarrow.float16()),
        }
    )
    data = sequences_from_table(table, None, ["x", "y", "z"])
    np.testing.assert_array_equal(data.sequences[0], [[1, 1, 1], [2, 2, 2]])
