"""Models in files: round trips, and refusal of files without a known model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fake_model import FakeModel
from refusals import refuses

import fastcell
from fastcell import serialize
from fastcell.named_classes import CLASSES
from fastcell.serialize import load, model_class, read_arrays, save, write_arrays


class TestModels:
    def test_what_is_saved_is_loaded(self, path, fake):
        save(fake, path)
        model = load(path)
        assert type(model) is FakeModel
        assert model.config() == fake.config()
        np.testing.assert_array_equal(model.weight, fake.weight)

    @pytest.mark.parametrize("expect", [fastcell.GRU, fastcell.Module, None])
    def test_a_model_of_the_class_expected_is_loaded(self, path, expect):
        save(fastcell.GRU(3, 5), path)
        assert type(load(path, expect)) is fastcell.GRU

    def test_a_model_of_another_class_than_expected_is_refused(self, path):
        save(fastcell.GRU(3, 5), path)
        refuses(
            ValueError, ["expect", "LSTM", "GRU", str(path)], load, path, fastcell.LSTM
        )

    @pytest.mark.parametrize("expect", ["GRU", int, fastcell.GRU(1, 1), 0])
    def test_only_a_class_of_modules_can_be_expected(self, path, expect):
        save(fastcell.GRU(3, 5), path)
        refuses(TypeError, ["expect"], load, path, expect)

    def test_metadata_are_as_documented(self, path, fake):
        save(fake, path)
        _, metadata = read_arrays(path)
        assert set(metadata) == {"fastcell"}
        assert json.loads(metadata["fastcell"]) == {
            "format": 1,
            "class": "FakeModel",
            "config": {"rows": 3, "columns": 2, "note": "žluť"},
        }

    def test_every_class_of_the_table_is_one_of_fastcell(self):
        assert model_class("LanguageModel") is fastcell.models.LanguageModel
        for name, cls in CLASSES.items():
            assert cls.__module__.partition(".")[0] == "fastcell"
            assert cls.__name__ == name

    @pytest.mark.parametrize("name", ["os:system", "os.system", "", None, 1, [], {}])
    def test_class_that_files_may_not_name(self, path, name):
        with pytest.raises(ValueError, match=r"class must be Activation, .* or Sp"):
            model_class(name)
        description = {"format": 1, "class": name, "config": {}}
        write_arrays(path, {}, {"fastcell": json.dumps(description)})
        with pytest.raises(ValueError, match=r"class must be Activation, .* or Sp"):
            load(path)

    def test_class_that_load_could_not_build(self, path, fake):
        class Other:
            pass

        class FakeModel(type(fake)):
            """A class of the same name that is not the one of the table."""

        for model in (Other(), FakeModel(2), np.zeros(3), None):
            with pytest.raises(TypeError, match=r"model must be one of Act.*got"):
                save(model, path)
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize(
        "metadata, message",
        [
            ({}, "no model of fastcell.*read_arrays"),
            ({"format": "pt"}, "no model of fastcell.*read_arrays"),
            ({"fastcell": ""}, "metadata 'fastcell' is not valid"),
            ({"fastcell": "{"}, "metadata 'fastcell' is not valid"),
            ({"fastcell": "[" * 10**6}, "metadata 'fastcell' is nested too deeply"),
            ({"fastcell": "[]"}, "no JSON object"),
            ({"fastcell": "7"}, "no JSON object"),
            ({"fastcell": '{"format": 1, "format": 1}'}, "'format' stands there twice"),
            ({"fastcell": '{"format": NaN}'}, "NaN"),
            ({"fastcell": "{}"}, "format must be 1; got None"),
            ({"fastcell": '{"format": 2}'}, "got 2 of a later fastcell"),
            ({"fastcell": '{"format": "1"}'}, "format must be 1; got '1'"),
            ({"fastcell": '{"format": true}'}, "format must be 1; got True"),
            ({"fastcell": '{"format": 1}'}, "class must be Activation.*got None"),
        ],
    )
    def test_bad_metadata_are_named(self, path, metadata, message):
        write_arrays(path, {}, metadata)
        with pytest.raises(ValueError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")

    @pytest.mark.parametrize(
        "config, message",
        [
            (None, "config must be a JSON object"),
            ([3], "config must be a JSON object"),
            ("rows", "config must be a JSON object"),
            ({}, "no FakeModel can be made of the config"),
            ({"rows": 3, "surprise": 1}, "surprise"),
            ({"rows": "3"}, "no FakeModel can be made of the config"),
            ({"rows": -3}, "no FakeModel can be made of the config"),
            ({"rows": 2**70}, "no FakeModel can be made of the config"),
            ({"rows": 2**60}, "no FakeModel can be made of the config"),
            ({"rows": 1e999}, "config|valid"),
            ({"rows": 4}, "arrays do not fit the FakeModel.*shape"),
        ],
    )
    def test_bad_config_is_named(self, path, fake, config, message):
        description = {"format": 1, "class": "FakeModel", "config": config}
        write_arrays(path, fake.state_dict(), {"fastcell": json.dumps(description)})
        with pytest.raises(ValueError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_error_is_short_however_long_the_file_is(self, path):
        for part in ({"class": "x" * 10_000}, {"format": list(range(10_000))}):
            description = {"format": 1, "class": "LSTM", "config": {}, **part}
            write_arrays(path, {}, {"fastcell": json.dumps(description)})
            with pytest.raises(ValueError, match=r"\.\.\.") as caught:
                load(path)
            assert len(str(caught.value)) < 1000

    def test_deep_config_is_named(self, path, fake):
        # As deep as the parser goes, which is deeper than some other functions go.
        for depth in (100, 500, 900, 950, 980, 990, 1000, 5000):
            config = '{"rows": ' + "[" * depth + "]" * depth + "}"
            description = f'{{"format": 1, "class": "FakeModel", "config": {config}}}'
            write_arrays(path, fake.state_dict(), {"fastcell": description})
            with pytest.raises(ValueError, match=r"config|nested too deeply"):
                load(path)

    def test_arrays_of_other_names(self, path, fake):
        description = {"format": 1, "class": "FakeModel", "config": {"rows": 3}}
        write_arrays(path, {"bias": np.ones(3)}, {"fastcell": json.dumps(description)})
        with pytest.raises(ValueError, match=r"arrays do not fit the FakeModel.*bias"):
            load(path)

    @pytest.mark.parametrize(
        "dtype, other", [("float32", "float64"), ("float64", "float32")]
    )
    def test_arrays_of_another_dtype(self, path, dtype, other):
        layer = fastcell.GRU(2, 3, dtype=dtype)
        model = fastcell.Sequential([layer, fastcell.Linear(3, 1, dtype=dtype)])
        save(model, path)
        arrays, metadata = read_arrays(path)
        for wrong in (other, "float16"):
            write_arrays(
                path, {**arrays, "1.bias": arrays["1.bias"].astype(wrong)}, metadata
            )
            with pytest.raises(
                ValueError, match=rf"arrays do not fit.*1\.bias must be {dtype}; got"
            ):
                load(path)

    def test_config_that_is_no_json(self, path, fake):
        fake.arguments["note"] = float("nan")
        with pytest.raises(ValueError, match="JSON"):
            save(fake, path)
        fake.arguments["note"] = object()
        with pytest.raises(TypeError, match="JSON"):
            save(fake, path)
        assert list(path.parent.iterdir()) == []


class TestSizesOfAConfiguration:
    """A file must not make `load` take more memory than it holds itself."""

    @pytest.mark.parametrize(
        ("key", "value"),
        [("hidden_size", 10**6), ("input_size", 10**9), ("num_layers", 10**9)],
    )
    def test_sizes_past_the_files_own_raise(self, tmp_path, key, value):
        import fastcell

        path = tmp_path / "model.safetensors"
        layer = fastcell.LSTM(2, 3, seed=0)
        config = {**layer.config(), key: value}
        description = {"format": 1, "class": "LSTM", "config": config}
        serialize.write_arrays(
            path, layer.state_dict(), {"fastcell": json.dumps(description)}
        )
        with pytest.raises(ValueError, match=r"parameters|num_layers"):
            fastcell.load(path)
