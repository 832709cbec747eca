"""Options of the recurrent layers of models: what takes them, and their files."""

from __future__ import annotations

from typing import get_args, get_type_hints

import numpy as np
import pytest
from model_slopes import slope_errors
from oracle import same_bits
from refusals import refuses
from tolerances import DIFFERENCE

import fastcell
from fastcell.cells import REGISTRY, offered
from fastcell.layers.options import Options
from fastcell.layers.recurrent import Recurrent
from fastcell.models import (
    Captioner,
    Forecaster,
    FrameModel,
    LanguageModel,
    Seq2Seq,
    SequenceClassifier,
    SequenceRegressor,
    SequenceTagger,
    SpeechRecognizer,
)
from fastcell.optim import SGD
from fastcell.train import Trainer

T, B, I, H = 5, 2, 3, 4  # noqa: E741  (the letter of DESIGN)
LENGTHS = np.array([5, 3])
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((2, T, B, I))
IDS = np.array([[2, 2], [4, 5], [5, 3], [4, 0], [3, 0]])  # from bos to eos
LABELS = np.array([[1, 2], [2, 0]])

#: By name: a model of the options, and a batch.
MODELS = {
    "language": (lambda **o: LanguageModel(6, I, H, 2, **o), (IDS[:-1], IDS[1:])),
    "classifier": (lambda **o: SequenceClassifier(I, H, 2, **o), (X, LENGTHS, [0, 1])),
    "tagger": (lambda **o: SequenceTagger(I, H, 6, **o), (X, LENGTHS, IDS)),
    "regressor": (lambda **o: SequenceRegressor(I, H, I, **o), (X, LENGTHS, Y[0])),
    "recognizer": (
        lambda **o: SpeechRecognizer(I, H, 2, bidirectional=True, **o),
        (X, LENGTHS, LABELS, [2, 1]),
    ),
    "captioner": (lambda **o: Captioner(I, 6, 2, H, **o), (IDS, [5, 3], Y[0])),
    "seq2seq": (lambda **o: Seq2Seq(6, 6, 2, H, **o), (IDS, LENGTHS, IDS, [5, 3])),
    "feeding": (
        lambda **o: Seq2Seq(6, 6, 2, H, input_feeding=True, **o),
        (IDS, LENGTHS, IDS, [5, 3]),
    ),
    "forecaster": (lambda **o: Forecaster(I, H, **o), (X, LENGTHS, Y)),
    "frames": (lambda **o: FrameModel(I, H, head="values", **o), (X, LENGTHS, Y)),
}
CHOSEN = {
    "init": "orthogonal",
    "forget_bias": 1.5,
    "num_heads": 2,
    "activations": ("sigmoid", ("scaled_tanh", 1.2, 0.7), "softsign"),
    "cell_clip": 2,
    "zoneout": (0.2, np.float32(0.125)),
    "recurrent_dropout": 0.25,
    "weight_drop": 0.1,
}
AS_JSON = {
    **CHOSEN,
    "activations": ["sigmoid", ["scaled_tanh", 1.2, 0.7], "softsign"],
    "zoneout": [0.2, 0.125],
}
every_model = pytest.mark.parametrize("name", MODELS)


def made(name, layer_options=CHOSEN, **options):
    make, batch = MODELS[name]
    options = {"cell": "lstm", "dtype": np.float64, "seed": 1, **options}
    return make(layer_options=layer_options, **options), batch


def recurrent_layers(module):
    if isinstance(module, Recurrent):
        return [module]
    return [x for part in module.children().values() for x in recurrent_layers(part)]


@every_model
def test_every_recurrent_layer_has_the_options(name):
    model, _ = made(name)
    layers = recurrent_layers(model)
    assert len(layers) == (2 if name in ("seq2seq", "feeding") else 1)
    for layer in layers:
        found = layer.config()
        assert {option: found[option] for option in CHOSEN} == AS_JSON


@every_model
def test_a_loaded_model_has_the_options_and_goes_on_with_the_same_bits(name, tmp_path):
    model, batch = made(name)
    fastcell.save(model, tmp_path / "model.safetensors")
    loaded = fastcell.load(tmp_path / "model.safetensors")
    assert loaded.config() == model.config()
    assert loaded.config()["layer_options"] == AS_JSON
    for one in (model, loaded):
        one.set_rng_state(made(name)[0].rng_state())
        Trainer(one, SGD(one.params, lr=0.1), progress=False).fit([batch], steps=3)
    assert loaded.evaluate(batch)[0] == model.evaluate(batch)[0]
    arrays = model.state_dict()
    assert all(same_bits(loaded.state_dict()[n], array) for n, array in arrays.items())


@every_model
def test_gradients_are_right_with_masks(name):
    """Also where a model calls its layer step by step, each step with its own mask."""
    model, batch = made(name)
    assert max(slope_errors(model, batch).values()) <= DIFFERENCE


def test_options_change_the_loss_and_the_start():
    plain, batch = made("language", None)
    for option, value in {**CHOSEN, "cell_clip": 0.01}.items():
        model, _ = made("language", {option: value})
        assert model.loss(batch)[0] != plain.loss(batch)[0], option


@pytest.mark.parametrize("given", [None, {}])
@every_model
def test_a_model_without_options_has_none_in_its_file(name, given):
    assert "layer_options" not in made(name, given)[0].config()


def test_an_activation_that_is_another_cell_is_kept(tmp_path):
    model = LanguageModel(6, I, H, cell="rnn", layer_options={"activations": ["relu"]})
    fastcell.save(model, tmp_path / "model.safetensors")
    loaded = fastcell.load(tmp_path / "model.safetensors")
    assert recurrent_layers(loaded)[0].activations == ("relu",)


def test_every_argument_of_all_layers_is_taken_unless_the_model_chooses_it():
    chosen = {"merge", "go_backwards", "zero_output_for_mask"}
    for option in Options.__annotations__:
        if option in chosen:
            refuses(
                ValueError, ["layer_options", option], made, "language", {option: 0}
            )
        else:
            made("language", {option: usual(option)})


def usual(option):
    """Return a value that each layer takes."""
    optional = type(None) in get_args(get_type_hints(Options)[option])
    texts = {"num_heads": 1, "zero_length": "keep", "init": "uniform"}
    return texts.get(option, None if optional else 0.0)


def test_bad_options_are_named():
    refuses(TypeError, ["layer_options", "mapping"], made, "tagger", [("init", "x")])
    words = ["layer_options", "GRU", "reset_after", "zoneout", "peephole"]
    refuses(ValueError, words, made, "tagger", {"peephole": True}, cell="gru")
    refuses(
        ValueError, ["layer_options", "num_layers"], made, "tagger", {"num_layers": 2}
    )
    refuses(ValueError, ["layer_options", "1"], made, "tagger", {1: 2})
    refuses(ValueError, ["zoneout", "2"], made, "tagger", {"zoneout": 2})


def test_a_file_with_bad_options_is_refused(tmp_path):
    model, _ = made("tagger")
    model.encoder.layer_options = {"dtype": "float32"}
    path = tmp_path / "model.safetensors"
    fastcell.save(model, path)
    refuses(ValueError, [path.name, "layer_options", "dtype"], fastcell.load, path)


def test_errors_offer_no_cell_that_arguments_choose():
    with pytest.raises(ValueError, match="cell must be one of rnn, ") as caught:
        made("tagger", None, cell="no such cell")
    assert "with_options" not in str(caught.value)
    assert {"rnn", *REGISTRY} - {*offered()} == {n for n in REGISTRY if "with_opt" in n}
    assert made("tagger", None, cell="lstm_with_options")[0].config()["cell"] == (
        "lstm_with_options"
    )
