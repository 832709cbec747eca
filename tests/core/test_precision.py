"""bfloat16 and 8-bit products: errors, training, and refusals. Their bits are in
test_bits.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tolerances
from oracle import by_name, same_bits, set_constants

import fastcell
from fastcell.layers.recurrent import Recurrent
from fastcell.serialize import write_arrays
from fastcell.train import Trainer

T, B, I, H = 12, 5, 19, 37  # noqa: E741

narrow = pytest.mark.parametrize("precision", ["bf16", "int8"])


def layer_of(
    cell, precision="float32", layers=2, dtype=np.float32, bidirectional=False
):
    layer = cell.layer(
        I, H, num_layers=layers, dtype=dtype, seed=3, bidirectional=bidirectional
    )
    set_constants(layer, seed=3)
    return layer.quantize() if precision == "int8" else layer.to(precision)


def inputs(seed=0, steps=T, rows=B):
    return np.random.default_rng(seed).standard_normal((steps, rows, I), np.float32)


@narrow
@by_name
def test_outputs_are_near_those_of_float32(cell, precision, isa):
    x = inputs()
    exact, near = layer_of(cell)(x)[0], layer_of(cell, precision)(x)[0]
    assert not same_bits(exact, near)
    error = np.sqrt(np.mean((exact - near) ** 2) / np.mean(exact**2))
    assert error < tolerances.NARROW[precision]


# k that fill no group of 2 or 4 and no vector; rows in several tiles, several blocks of
# 48 and, for gradients, of 256; units in full and in edge tiles.
EXACT_SIZES = [
    *((1, 2, 1), (2, 1, 15), (3, 3, 16), (4, 5, 17), (5, 7, 33)),
    *((31, 8, 64), (33, 9, 70), (64, 47, 9), (67, 49, 7), (70, 60, 130), (7, 300, 19)),
]


@pytest.mark.parametrize("sizes", EXACT_SIZES, ids=str)
@narrow
def test_products_of_integers_are_those_of_float32(precision, sizes, isa):
    """Whole numbers up to 127 lose nothing in bfloat16, nor as 8-bit integers where the
    largest of each row and column is 127; their sums lose nothing in float32."""
    inputs, rows, units = sizes
    random = np.random.default_rng(inputs)

    def integers(*shape):
        drawn = random.integers(-127, 128, shape).astype(np.float32)
        drawn[..., random.integers(shape[-1])] = 127
        return drawn

    layer = fastcell.RNN(inputs, units, nonlinearity="relu", seed=0)
    weights = {n: integers(*w.shape) for n, w in layer.state_dict().items()}
    layer.load_state_dict(weights)
    near = layer.quantize()
    if precision == "bf16":
        near = fastcell.RNN(inputs, units, nonlinearity="relu", seed=0).to("bf16")
        near.load_state_dict(weights)
    x, h = integers(1, rows, inputs), integers(1, rows, units)
    assert same_bits(near(x, h)[0], layer(x, h)[0])
    if precision == "bf16":
        dy, found = integers(1, rows, units), []
        for of in (near, layer):
            _, _, saved = of.forward(x, h)
            dx, dh, grads = of.backward(dy, saved)
            found.append({"dx": dx, "dh": dh, **grads})
        for name, exact in found[1].items():
            assert same_bits(found[0][name], exact), name


@by_name
def test_gradients_of_bf16_are_near_those_of_float32(cell, isa):
    x = inputs()
    found = []
    for precision in ("float32", "bf16"):
        layer = layer_of(cell, precision, bidirectional=True)
        y, _, saved = layer.forward(x)
        dy = np.random.default_rng(2).standard_normal(y.shape, np.float32)
        dx, _, grads = layer.backward(dy, saved)
        found.append({"dx": dx, **grads})
    what = "gradient of relu" if "relu" in cell.name else "gradient"
    for name, exact in found[0].items():
        error = np.linalg.norm(found[1][name] - exact) / np.linalg.norm(exact)
        assert error < tolerances.NARROW[what], name


def test_bf16_gathers_as_it_reads_vectors(isa):
    embedding = fastcell.Embedding(7, I, seed=0)
    ids = np.random.default_rng(0).integers(0, 7, (T, B))
    layer = fastcell.LSTM(I, H, seed=1)
    both = fastcell.Sequential([embedding, layer]).to("bf16")
    assert layer.precision == "bf16"
    assert same_bits(both(ids)[0], layer(embedding(ids))[0])


def test_a_model_learns_in_bf16():
    model = fastcell.models.LanguageModel(4, 8, 16, seed=0).to("bf16")
    optimizer = fastcell.optim.Adam(model.params, lr=0.03)
    ids = np.array([["helo".index(letter)] for letter in "hello"])
    for _ in range(60):
        loss, saved = model.loss((ids[:-1], ids[1:]))
        optimizer.step(model.backward(saved))
    assert loss < 0.05
    quantized = model.quantize()
    assert quantized.evaluate((ids[:-1], ids[1:]))[0] < 0.1


def made_in_bf16():
    """A model of each class that takes a precision."""
    models = fastcell.models
    return [
        models.SequenceClassifier(I, H, 3, precision="bf16", seed=0),
        models.SequenceRegressor(I, H, 2, precision="bf16", seed=0),
        models.SequenceTagger(I, H, 3, embedding_dim=5, precision="bf16", seed=0),
        models.LanguageModel(4, 8, H, 2, precision="bf16", seed=0),
        models.SpeechRecognizer(I, H, num_labels=2, precision="bf16", seed=0),
        models.Seq2Seq(9, 8, 5, H, precision="bf16", seed=0),
        models.Captioner(5, 9, 5, H, precision="bf16", seed=0),
        models.FrameModel(I, H, precision="bf16", seed=0),
        models.Forecaster(I, H, precision="bf16", seed=0),
    ]


def recurrent_layers(module):
    if isinstance(module, Recurrent):
        return [module]
    return [r for c in module.children().values() for r in recurrent_layers(c)]


@pytest.mark.parametrize("model", made_in_bf16(), ids=lambda m: type(m).__name__)
def test_a_model_takes_the_precision_and_a_file_keeps_it(model, tmp_path):
    fastcell.save(model, tmp_path / "model")
    for one in (model, fastcell.load(tmp_path / "model")):
        layers = recurrent_layers(one)
        assert layers and all(layer.precision == "bf16" for layer in layers)
    assert "precision" not in model.to("float32").config()


def test_a_model_of_float64_or_of_no_such_precision_is_refused():
    for precision in ("float16", "int8", ["bf16"], 16):
        with pytest.raises(ValueError, match="precision must be 'float32' or 'bf16'"):
            fastcell.models.SequenceClassifier(I, H, 3, precision=precision)
    with pytest.raises(TypeError, match="float64 computes in float64; got 'bf16'"):
        fastcell.models.LanguageModel(4, 8, 16, dtype="float64", precision="bf16")


def test_a_classifier_and_a_language_model_learn_in_bf16_with_the_trainer():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 60)
    x = [
        random.standard_normal((n, 3)) + 0.5 * k for n, k in zip(y + 9, y, strict=True)
    ]
    classifier = fastcell.models.SequenceClassifier(
        3, 16, 2, bidirectional=True, pooling="mean", precision="bf16", seed=0
    )
    learn(classifier, fastcell.data.Sequences(x, y, 10), 20, "valid_accuracy", 0.95)
    ids = np.tile([0, 1, 2, 3, 2], 20)[:, np.newaxis]
    model = fastcell.models.LanguageModel(4, 8, 16, precision="bf16", seed=0)
    windows = [(ids[i : i + 9], ids[i + 1 : i + 10]) for i in range(0, 90, 9)]
    learn(model, windows, 20, "valid_bpc", -0.2)


def learn(model, data, epochs, key, target):
    optimizer = fastcell.optim.Adam(model.params, lr=0.02)
    trainer = fastcell.train.Trainer(model, optimizer, clip_norm=1.0, progress=False)
    record = trainer.fit(data, data, epochs=epochs)[-1]
    assert record[key] > target if target > 0 else record[key] < -target
    assert {a.dtype for a in model.state_dict().values()} == {np.dtype(np.float32)}
    kept = [v for v in optimizer.state_dict().values() if isinstance(v, np.ndarray)]
    assert kept and {a.dtype for a in kept} == {np.dtype(np.float32)}


def test_the_weights_of_bf16_are_float32_and_add_up_small_steps():
    """Steps of a hundredth of what bfloat16 tells apart: 100 of them move a weight."""
    layer = fastcell.LSTM(3, 4, seed=0).to("bf16")
    layer.params["weight_hh_l0"][...] = 1
    optimizer = fastcell.optim.SGD(layer.params, lr=2.0**-14)
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    x = inputs()[:, :, :3]
    y, _ = layer(x)
    for _ in range(100):
        optimizer.step({name: np.ones_like(array) for name, array in before.items()})
    for name, array in layer.state_dict().items():
        np.testing.assert_allclose(array, before[name] - 100 * 2.0**-14, atol=1e-6)
    assert not same_bits(layer(x)[0], y)


@narrow
def test_what_is_not_finite_stays_in_its_sequence(precision, isa):
    layer, x = layer_of(fastcell.cells.REGISTRY["gru"], precision), inputs()
    clean, _ = layer(x)
    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[6, 2, 3] = value
        y, _ = layer(bad)
        assert same_bits(np.delete(y, 2, axis=1), np.delete(clean, 2, axis=1))
        assert same_bits(y[:6, 2], clean[:6, 2])
        if np.isnan(value):
            assert np.isnan(y[6:, 2]).all()


def test_float32_again_gives_the_first_bits():
    layer, x = fastcell.GRU(I, H, seed=0), inputs()
    y, _ = layer(x)
    assert layer.to("bfloat16") is layer
    assert same_bits(layer.to("float32")(x)[0], y)


def test_a_quantized_copy_keeps_its_weights():
    layer, x = fastcell.GRU(I, H, seed=0), inputs()
    copy = layer.quantize()
    y, _ = copy(x)
    layer.params["weight_hh_l0"][...] = 0
    assert same_bits(copy(x)[0], y)
    assert layer.precision == "float32"


def test_refusals():
    layer = fastcell.LSTM(3, 4)
    with pytest.raises(ValueError, match="precision must be 'float32' or 'bf16'"):
        layer.to("fp8")
    with pytest.raises(ValueError, match="precision must be 'int8'"):
        layer.quantize("int4")
    with pytest.raises(RuntimeError, match="inference only"):
        layer.quantize().forward(np.zeros((1, 1, 3), np.float32))
    for change in (lambda x: x.to("bf16"), lambda x: x.quantize()):
        with pytest.raises(TypeError, match="float64 computes in float64"):
            change(fastcell.LSTM(3, 4, dtype=np.float64))
    _, _, saved = layer.forward(np.zeros((1, 1, 3), np.float32))
    layer.to("bf16")
    with pytest.raises(ValueError, match="another precision"):
        layer.backward(np.zeros((1, 1, 4), np.float32), saved)


def mixed():
    return fastcell.Sequential(
        [
            fastcell.Sequential([fastcell.GRU(I, H, seed=0).to("bf16")]),
            fastcell.RNN(H, H, seed=1),
            fastcell.LSTM(H, H, seed=2).quantize(),
        ]
    )


def mixed_model():
    model = fastcell.models.Seq2Seq(9, 8, 5, H, seed=0)
    model.children()["decoder"].to("bf16")
    return model


KEPT = {
    **{type(model).__name__: model for model in made_in_bf16()},
    "GRU, bf16": fastcell.GRU(I, H, seed=0).to("bf16"),
    "LSTM, int8": fastcell.LSTM(I, H, seed=0).quantize(),
    "Sequential, mixed": mixed(),
    "Seq2Seq, mixed": mixed_model(),
    "LanguageModel, int8": fastcell.models.LanguageModel(4, 8, H, seed=0).quantize(),
}


def precisions(module):
    return [layer.precision for layer in recurrent_layers(module)]


@pytest.mark.parametrize("module", KEPT.values(), ids=KEPT)
def test_files_and_configurations_keep_the_precision_of_each_layer(module, tmp_path):
    fastcell.save(module, tmp_path / "model")
    others = [
        fastcell.load(tmp_path / "model"),
        type(module).from_config(module.config()),
        type(module).from_config(json.loads(json.dumps(module.config()))),
    ]
    for other in others:
        assert precisions(other) == precisions(module)
    assert set(precisions(module)) != {"float32"}


@pytest.mark.parametrize("name", ["LSTM, int8", "GRU, bf16", "Sequential, mixed"])
def test_a_loaded_layer_has_the_bits_of_the_saved_one(name, tmp_path):
    fastcell.save(KEPT[name], tmp_path / "model")
    x = inputs()
    assert same_bits(fastcell.load(tmp_path / "model")(x)[0], KEPT[name](x)[0])


def test_a_cell_keeps_its_precision_in_its_configuration():
    cell = fastcell.LSTMCell(I, H, seed=0).to("bf16")
    assert cell.precision == "bf16"
    assert fastcell.LSTMCell.from_config(cell.config()).precision == "bf16"


def test_the_usual_precision_is_not_in_a_configuration():
    for module in (fastcell.GRU(I, H), fastcell.GRU(I, H, dtype=np.float64)):
        assert "precision" not in module.config()


BAD_PRECISIONS = [
    ("int4", "precision must be one of float32, .* got 'int4'"),
    (4, "precision must be one of float32, .* got 4"),
    ({"2": "bf16"}, "precision must name recurrent layers, '0', '1'; got '2'"),
    ({"0": None}, "precision must be one of float32, .* got None"),
    ({"0": "float64"}, "dtype float32 computes in float32, .*; got 'float64'"),
]


@pytest.mark.parametrize("precision, message", BAD_PRECISIONS)
def test_a_file_of_an_unknown_precision_is_refused_by_its_name(
    precision, message, tmp_path
):
    path = tmp_path / "model"
    layers = [fastcell.GRU(I, H), fastcell.GRU(H, H)]
    model = layers[0] if not isinstance(precision, dict) else None
    arrays = (model or fastcell.Sequential(layers)).state_dict()
    if model is None:
        # Of a model whose layers differ.
        model = fastcell.models.Seq2Seq(9, 8, 5, H)
        arrays = model.state_dict()
        names = list(model._with_precision())
        message = message.replace("'0', '1'", ", ".join(map(repr, names)))
        precision = {names[int(k)] if k == "0" else k: v for k, v in precision.items()}
    config = {**model.config(), "precision": precision}
    description = {"format": 1, "class": type(model).__name__, "config": config}
    write_arrays(path, arrays, {"fastcell": json.dumps(description)})
    with pytest.raises(ValueError, match=message) as raised:
        fastcell.load(path)
    assert str(raised.value).startswith(str(path))


def test_a_precision_that_not_all_layers_can_have_changes_none():
    model = fastcell.Sequential(
        [fastcell.GRU(I, H), fastcell.GRU(H, H, dtype=np.float64)]
    )
    for change in (lambda: model.to("bf16"), model.quantize):
        with pytest.raises(TypeError, match="computes in float64; got"):
            change()
        assert precisions(model) == ["float32", "float64"]


def test_a_quantized_copy_keeps_what_else_there_is():
    first = fastcell.Linear(I, I, seed=0)
    model = fastcell.Sequential([first, fastcell.Dropout(0.5, seed=1), first])
    model.layers[1].forward(inputs())
    quantized = model.quantize()
    assert quantized.layers[2] is quantized.layers[0]
    assert quantized.rng_state() == model.rng_state()


def test_a_resumed_run_has_the_precision_of_its_checkpoint(tmp_path):
    ids = np.random.default_rng(0).integers(0, 4, (6, 3))
    data = [(ids[:-1], ids[1:])]

    def trainer(precision):
        model = fastcell.models.LanguageModel(4, 8, 16, precision=precision, seed=0)
        optimizer = fastcell.optim.Adam(model.params, lr=0.03)
        return Trainer(model, optimizer, progress=False)

    trainer("bf16").fit(data, epochs=2, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="precision must be that of the checkpoint"):
        trainer("float32").resume(tmp_path / "run")
    resumed, whole = trainer("bf16").resume(tmp_path / "run"), trainer("bf16")
    resumed.fit(data, epochs=4)
    whole.fit(data, epochs=4)
    assert precisions(resumed.model) == ["bf16"]
    for name, array in whole.model.state_dict().items():
        assert same_bits(resumed.model.state_dict()[name], array), name
