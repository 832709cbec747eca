"""Sequences from CSV files: values, missing values, and errors by line."""

from __future__ import annotations

import copy
from pickle import dumps, loads

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import iter_csv_sequences, read_csv_sequences

TEXT = "id,x,note,y,label\na,1,n,2,up\na,3,n,4.5,up\nb,-1e3,n,0,down\n"


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_rows_become_sequences_in_the_order_of_the_file(table):
    ids, sequences, targets, classes = read_csv_sequences(
        table(TEXT), "id", ["y", "x"], "label"
    )
    assert ids == ["a", "b"]
    assert [s.tolist() for s in sequences] == [[[2, 1], [4.5, 3]], [[0, -1000]]]
    assert classes == ("down", "up")
    assert targets == [1, 0]


def test_one_feature_and_no_target(table):
    data = read_csv_sequences(table(TEXT), "id", "x")
    assert [s.tolist() for s in data.sequences] == [[[1], [3]], [[-1000]]]
    assert data.targets is data.classes is None


def test_targets_of_each_step(table):
    text = TEXT.replace("4.5,up", "4.5,down")
    data = read_csv_sequences(table(text), "id", "x", "label", per_step=True)
    assert [t.tolist() for t in data.targets] == [[1, 0], [0]]


def test_targets_that_are_numbers(table):
    whole = read_csv_sequences(
        table(TEXT), "id", "x", "x", target="value", per_step=True
    )
    assert [t.tolist() for t in whole.targets] == [[1.0, 3.0], [-1000.0]]
    text = "id,x,age\na,1,0.5\na,2,0.5\nb,3,7\n"
    data = read_csv_sequences(table(text), "id", "x", "age", target="value")
    assert data.targets == [0.5, 7.0]
    assert data.classes is None


def test_classes_of_another_file_keep_their_numbers(table):
    data = read_csv_sequences(
        table(TEXT), "id", "x", "label", classes=["up", "left", "down"]
    )
    assert data.targets == [0, 2]
    assert data.classes == ("up", "left", "down")
    refuses(
        ValueError,
        ["table.csv", "'label'", "'up', 'left'", "got 'down'"],
        read_csv_sequences,
        table(TEXT),
        "id",
        "x",
        "label",
        classes=["up", "left"],
    )


def test_classes_that_are_whole_numbers_are_in_their_order(table):
    text = "id,x,label\na,1,10\nb,1,9\nc,1,-1\n"
    data = read_csv_sequences(table(text), "id", "x", "label")
    assert data.classes == ("-1", "9", "10")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TEXT, "utf-8-sig"),
        (TEXT.replace("\n", "\r\n"), "utf-8"),
        (TEXT.replace("\n", "\n\n"), "utf-8"),
        (TEXT.replace("note", '"a, ""note"""'), "utf-8"),
        (TEXT.removesuffix("\n"), "utf-8"),
    ],
)
def test_ways_to_write_the_same_table(table, text, encoding):
    data = read_csv_sequences(table(text, encoding), "id", ["y", "x"], "label")
    assert [s.tolist() for s in data.sequences] == [[[2, 1], [4.5, 3]], [[0, -1000]]]


def test_another_delimiter(table):
    path = table(TEXT.replace(",", "\t"))
    data = read_csv_sequences(path, "id", "y", delimiter="\t")
    assert data.sequences[0].tolist() == [[2], [4.5]]


def test_sequences_come_one_by_one(table):
    path = table(TEXT + "c,nonsense,n,1,up\n")
    groups = iter_csv_sequences(path, "id", "x", "label")
    name, x, labels = next(groups)
    assert (name, x.tolist(), labels) == ("a", [[1], [3]], ["up", "up"])
    assert next(groups)[0] == "b"
    refuses(ValueError, ["line 5", "'x'", "'nonsense'"], next, groups)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["names of columns"]),
        ("id,x,label\n", ["at least one row"]),
        ("id,label\na,up\n", ["feature_columns", "'id', 'label'", "'x'", "no"]),
        ("id,x,x,label\na,1,2,up\n", ["feature_columns", "'x'", "more than one"]),
        ("ID,x,label\na,1,up\n", ["id_column", "'id'"]),
        ("id,x\na,1\n", ["target_column", "'label'"]),
        ("id,x,label\na,1,up\na,,up\n", ["line 3", "'x'", "missing", "''"]),
        ("id,x,label\na,nan,up\n", ["line 2", "'x'", "'nan'"]),
        ("id,x,label\na,1e999,up\n", ["line 2", "'x'", "'1e999'"]),
        ("id,x,label\na,-1e39,up\n", ["line 2", "'x'", "'-1e39'", "float32"]),
        ("id,x,label\na,1\n", ["line 2", "3 columns", "got 2"]),
        ("id,x,label\na,1,up\nb,1,up\na,1,up\n", ["line 4", "'a'", "adjacent"]),
        ("id,x,label\na,1,up\na,1,down\n", ["line 3", "'label'", "'up'", "'down'"]),
        ('id,x,label\na,1,"up\n', ["line 2"]),
    ],
)
def test_bad_tables_are_named(table, text, words):
    words = ["table.csv", *words]
    refuses(ValueError, words, read_csv_sequences, table(text), "id", "x", "label")


def test_bad_arguments_are_named(table):
    path = table(TEXT)
    refuses(ValueError, ["feature_columns"], read_csv_sequences, path, "id", [])
    refuses(
        ValueError, ["target"], read_csv_sequences, path, "id", "x", "y", target="real"
    )
    refuses(TypeError, ["dtype"], read_csv_sequences, path, "id", "x", dtype=int)
    refuses(
        TypeError, ["per_step"], read_csv_sequences, path, "id", "x", "y", per_step=1
    )
    refuses(
        ValueError,
        ["'label'", "line 2", "finite", "'up'"],
        read_csv_sequences,
        path,
        "id",
        "x",
        "label",
        target="value",
    )
    refuses(
        ValueError, ["UTF-8"], read_csv_sequences, table("é\n", "latin-1"), "é", "x"
    )


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_csv_sequences(tmp_path / "nowhere.csv", "id", "x")


def test_numbers_are_those_of_the_file(table):
    values = np.random.default_rng(0).normal(size=(50, 2))
    rows = "".join(f"s,{a!r},{b!r}\n" for a, b in values.tolist())
    path = table("id,a,b\n" + rows)
    for dtype in (np.float32, np.float64):
        data = read_csv_sequences(path, "id", ["a", "b"], dtype=dtype)
        assert data.sequences[0].dtype == dtype
        np.testing.assert_array_equal(data.sequences[0], values.astype(dtype))


MISSING = ["", " ", "NA", "NaN", "nan", "N/A", "null", "<NA>", "None"]


@pytest.mark.parametrize("text", MISSING)
def test_a_missing_label_is_no_class(table, text):
    path = table(f"id,x,label\na,1,up\nb,2,{text}\nc,3,down\n")
    words = ["table.csv", "line 3", "'label'", "missing", repr(text)]
    refuses(ValueError, words, read_csv_sequences, path, "id", "x", "label")
    data = read_csv_sequences(path, "id", "x", "label", missing="skip")
    assert data.ids == ["a", "c"]
    assert data.classes == ("down", "up")
    assert data.targets == [1, 0]
    assert [s.tolist() for s in data.sequences] == [[[1]], [[3]]]
    assert data.skipped == 1


@pytest.mark.parametrize("text", MISSING)
def test_rows_without_an_id_are_no_sequence(table, text):
    path = table(f"id,x\na,1\n{text},2\n{text},3\nb,4\n{text},5\n")
    words = ["table.csv", "line 3", "'id'", "missing", repr(text)]
    refuses(ValueError, words, read_csv_sequences, path, "id", "x")
    data = read_csv_sequences(path, "id", "x", missing="skip")
    assert data.ids == ["a", "b"]
    assert [s.tolist() for s in data.sequences] == [[[1]], [[4]]]
    assert data.skipped == 2


def test_a_row_without_an_id_does_not_stand_within_a_sequence(table):
    path = table("id,x\na,1\n,2\na,3\n")
    words = ["line 4", "'id'", "'a'", "adjacent"]
    refuses(ValueError, words, read_csv_sequences, path, "id", "x", missing="skip")


@pytest.mark.parametrize("text", MISSING)
def test_a_missing_feature_leaves_out_its_sequence(table, text):
    path = table(f"id,x,y\na,1,2\na,3,{text}\nb,4,5\n")
    words = ["table.csv", "line 3", "'y'", "missing", repr(text)]
    refuses(ValueError, words, read_csv_sequences, path, "id", ["x", "y"])
    data = read_csv_sequences(path, "id", ["x", "y"], missing="skip")
    assert data.ids == ["b"]
    assert data.sequences[0].tolist() == [[4, 5]]
    assert data.skipped == 1


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("target", ["class", "value"])
def test_a_target_missing_in_one_row_leaves_out_its_sequence(table, target, per_step):
    path = table("id,x,y\na,1,2\na,3,\nb,4,5\n")
    options = {"target": target, "per_step": per_step}
    words = ["table.csv", "line 3", "'y'", "missing"]
    refuses(ValueError, words, read_csv_sequences, path, "id", "x", "y", **options)
    data = read_csv_sequences(path, "id", "x", "y", missing="skip", **options)
    wanted = 0 if target == "class" else 5.0
    assert [np.asarray(t).tolist() for t in data.targets] == (
        [[wanted]] if per_step else [wanted]
    )
    assert data.skipped == 1


def test_nonsense_is_not_missing(table):
    path = table("id,x\na,1\nb,inf\n")
    words = ["line 3", "'x'", "finite", "'inf'"]
    refuses(ValueError, words, read_csv_sequences, path, "id", "x", missing="skip")
    path = table("id,x\na,1_000\n")
    refuses(ValueError, ["line 2", "'1_000'"], read_csv_sequences, path, "id", "x")


def test_what_is_missing_can_be_told(table):
    path = table("id,x,country\nNA,1,NA\nb,2,DE\n?,4,FR\nc,3,?\n")
    data = read_csv_sequences(
        path, "id", "x", "country", missing="skip", missing_values=["?"]
    )
    assert data.ids == ["NA", "b"]
    assert data.classes == ("DE", "NA")
    assert data.skipped == 2


def test_a_name_of_a_class_is_not_missing(table):
    path = table("id,x,country\na,1,NA\nb,2,DE\n")
    data = read_csv_sequences(path, "id", "x", "country", classes=["DE", "NA"])
    assert data.targets == [1, 0]
    assert data.skipped == 0


def test_nothing_left_is_an_error(table):
    path = table("id,x,label\na,1,\nb,2,\n")
    words = ["table.csv", "missing", "all 2"]
    refuses(
        ValueError, words, read_csv_sequences, path, "id", "x", "label", missing="skip"
    )


def test_what_is_left_out_one_by_one_is_counted(table):
    path = table("id,x,y\na,1,\nb,2,4\nc,3,\nd,,5\n")
    rows = iter_csv_sequences(path, "id", "x", "y", missing="skip")
    assert [(name, said) for name, _, said in rows] == [("b", ["4"])]
    assert rows.skipped == 3
    words = ["table.csv", "line 2", "'y'", "missing"]
    refuses(ValueError, words, list, iter_csv_sequences(path, "id", "x", "y"))


def test_the_count_outlives_copies_and_pickle(table):
    path = table("id,x,y\na,1,\nb,2,4\n")
    data = read_csv_sequences(path, "id", "x", "y", missing="skip")
    for other in (copy.copy(data), copy.deepcopy(data), loads(dumps(data))):
        assert other.skipped == 1
        assert other.ids == ["b"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"missing": "drop"}, ValueError, ["missing", "'drop'"]),
        ({"missing_values": "NA"}, TypeError, ["missing_values", "'NA'"]),
        ({"missing_values": [None]}, TypeError, ["missing_values", "None"]),
        ({"classes": "up"}, TypeError, ["classes", "'up'"]),
        ({"classes": ["2", "4.5", "0", "2"]}, ValueError, ["classes", "differ"]),
        ({"classes": np.array([])}, ValueError, ["classes", "at least one"]),
        ({"feature_columns": 5}, TypeError, ["feature_columns", "5"]),
        ({"delimiter": ";;"}, TypeError, ["delimiter"]),
    ],
)
def test_bad_options_are_named(table, options, error, words):
    given = {"id_column": "id", "feature_columns": "x", "target_column": "y"}
    options = {**given, "per_step": True, **options}
    refuses(error, words, read_csv_sequences, table(TEXT), **options)


def test_wrong_targets_are_named_by_line_and_column(table):
    path = table("id,x,y\na,1,2\na,1,2\nb,1,2\nb,1,3\n")
    where = ["table.csv", "line 5", "'y'"]
    refuses(ValueError, [*where, "same"], read_csv_sequences, path, "id", "x", "y")
    refuses(
        ValueError,
        [*where, "one of '2'", "got '3'"],
        read_csv_sequences,
        path,
        "id",
        "x",
        "y",
        per_step=True,
        classes=["2"],
    )
    path = table("id,x,y\na,1,2\n\na,1,up\n")
    refuses(
        ValueError,
        ["table.csv", "line 4", "'y'", "finite", "'up'"],
        read_csv_sequences,
        path,
        "id",
        "x",
        "y",
        target="value",
        per_step=True,
    )
