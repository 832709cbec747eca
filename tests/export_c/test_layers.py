"""Exported layers and models: options of recurrent layers, int8, chains, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from exported import BUILDS, PLAIN, Net, needs_cc
from test_cells import check_states, every_cell, select_isa  # noqa: F401

import fastcell
from fastcell import models
from fastcell.layers import (
    Activation,
    Attention,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Pooling,
    Residual,
    Sequential,
)
from fastcell.layers.highway import Highway

FLAGS, ISA, LANES = BUILDS["c99"]


@pytest.fixture(autouse=True)
def isa_of_the_build(select_isa):  # noqa: F811
    select_isa(ISA)


def run(net, session, x):
    """Compare the outputs of some steps, bit for bit."""
    for x_t in x:
        y = session.step(x_t[np.newaxis])
        np.testing.assert_array_equal(net(x_t), y.reshape(-1))
    return y


def numbers(steps, width, seed=0):
    return np.random.default_rng(seed).standard_normal((steps, width), np.float32)


STACKS = {
    "layers": lambda: fastcell.LSTM(3, 9, 3, seed=0),
    "no bias": lambda: fastcell.GRU(3, 9, bias=False, seed=0),
    "no bias, norm": lambda: fastcell.GRU(3, 9, bias=False, layer_norm=True, seed=0),
    "projection": lambda: fastcell.LSTM(3, 9, 2, proj_size=5, seed=0),
    "heads": lambda: fastcell.LSTM(3, 15, 2, num_heads=3, seed=0),
    "whole heads": lambda: fastcell.SLSTM(3, 16, 4, 2, seed=0),
    "no heads' bias": lambda: fastcell.GRU(3, 6, num_heads=2, bias=False, seed=0),
    "zoneout": lambda: fastcell.LSTM(3, 9, zoneout=(0.3, 0.1), seed=0),
    "zoneout of h": lambda: fastcell.GRU(3, 9, zoneout=0.3, seed=0),
    "no input": lambda: fastcell.GRU(0, 9, seed=0),
    "one unit": lambda: fastcell.RNN(1, 1, seed=0),
    "large": lambda: fastcell.GRU(40, 70, seed=0),
    "activations": lambda: fastcell.LSTM(
        3,
        9,
        activations=(("hard_sigmoid", 0.2, 0.5), ("elu", 0.5), "softplus"),
        cell_clip=0.2,
        gate_clip=0.4,
        seed=0,
    ),
}


@needs_cc
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("kind", STACKS)
def test_a_stack_has_the_bits_of_its_session(kind, dtype, tmp_path):
    layer = STACKS[kind]()
    net = Net(layer, tmp_path, FLAGS, lanes=LANES, dtype=dtype)
    if dtype == "int8":
        layer = layer.quantize()
    x = 2 * numbers(20, layer.input_size)
    y = run(net, layer.session(), x)
    assert len(set(y.reshape(-1).tolist())) > (layer.output_size > 1)


@needs_cc
def test_every_cell_in_int8_has_the_bits_of_the_library(tmp_path):
    model = every_cell()
    net = Net(model, tmp_path, FLAGS, lanes=LANES, dtype="int8")
    model = model.quantize()
    session = model.session()
    for x in numbers(20, 3):
        np.testing.assert_array_equal(net(x), session.step(x[np.newaxis])[0])
        check_states(net, session, model.layers)


@needs_cc
def test_a_row_that_is_not_finite_is_nan_in_int8_as_in_the_library(tmp_path):
    layer = fastcell.RNN(3, 4, seed=0)
    net = Net(layer, tmp_path, FLAGS, lanes=LANES, dtype="int8")
    session = layer.quantize().session()
    x = np.array([1, np.inf, 2], np.float32)
    assert np.isnan(session.step(x)).all()
    assert np.isnan(net(x)).all()


@needs_cc
@pytest.mark.parametrize("lanes", [1, 2, 8, 16])
def test_the_lanes_change_no_bit(lanes, tmp_path):
    layer = fastcell.LSTM(3, 11, 2, num_heads=1, seed=0)
    net = Net(layer, tmp_path, FLAGS, lanes=lanes)
    assert net.made.state_bytes % (4 * lanes) == 0 or lanes == 16
    run(net, layer.session(), numbers(10, 3))


CHAINS = {
    "dense": lambda: [fastcell.GRU(3, 9, seed=0), Linear(9, 5, seed=1), Dropout(0.5)],
    "two": lambda: {"a": fastcell.LSTM(3, 5, seed=0), "b": fastcell.GRU(5, 7, seed=1)},
    "embedding": lambda: [Embedding(11, 3, seed=0), fastcell.GRU(3, 9, seed=0)],
    "residual": lambda: [
        Linear(3, 9, bias=False, seed=0),
        Residual(fastcell.GRU(9, 9, seed=1)),
        Residual(Sequential([Linear(9, 4, seed=2), Linear(4, 9, seed=3)])),
    ],
    "residual first": lambda: [Residual(fastcell.LSTM(3, 3, seed=1))],
    "highway": lambda: [Highway(fastcell.GRU(3, 3, seed=1), 3, -0.5, seed=2)],
    "relu": lambda: [Activation("relu"), fastcell.RNN(3, 5, seed=0)],
    "sigmoid": lambda: [fastcell.RNN(3, 5, seed=0), Activation("sigmoid")],
    "nested": lambda: [
        Sequential([fastcell.GRU(3, 5, seed=0), Linear(5, 5, seed=1)]),
        Sequential([fastcell.GRU(5, 5, seed=2)]),
    ],
}


@needs_cc
@pytest.mark.parametrize("kind", CHAINS)
def test_a_chain_has_the_bits_of_its_session(kind, tmp_path):
    model = Sequential(CHAINS[kind]())
    net = Net(model, tmp_path, FLAGS, lanes=LANES)
    x = numbers(20, 3)
    if net.ids:
        x = np.random.default_rng(0).integers(0, 11, 20).astype(np.int32)
    run(net, model.session(), x)


@needs_cc
def test_tanh_and_layer_norm_round_otherwise_than_numpy(tmp_path):
    # The library computes both by NumPy: its tanh has 1 to 2 ulp, the core's 3; its
    # sums of a row are in float32 and in another order. The values are at most 4.
    model = Sequential(
        [LayerNorm(37), Activation("tanh"), LayerNorm(37), Linear(37, 2)]
    )
    random = np.random.default_rng(0)
    for name in model.params:
        model.params[name] = random.standard_normal(
            model.params[name].shape, np.float32
        )
    net = Net(model, tmp_path, FLAGS, lanes=LANES)
    for x in numbers(20, 37):
        y = model(x[np.newaxis])[0]
        np.testing.assert_allclose(net(x), y, rtol=0, atol=3e-6)


def head(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


MODELS = {
    "tagger": (
        lambda: models.SequenceTagger(7, 5, 3, 2, embedding_dim=4, seed=0),
        head,
    ),
    "classifier": (
        lambda: models.SequenceClassifier(3, 5, 4, dropout=0.5, seed=0),
        head,
    ),
    "regressor": (lambda: models.SequenceRegressor(3, 5, 2, seed=0), None),
    "frames": (lambda: models.FrameModel(3, 5, head="values", seed=0), None),
    "residual frames": (
        lambda: models.FrameModel(
            2, 5, head="values", residual=True, input_size=3, seed=0
        ),
        None,
    ),
    "forecaster": (lambda: models.Forecaster(3, 5, 2, dropout=0.5, seed=0), None),
    "forecaster of frames": (
        lambda: models.Forecaster(3, 5, residual=False, seed=0),
        None,
    ),
    "language": (lambda: models.LanguageModel(7, 4, 5, cell="slstm", seed=0), None),
}


@needs_cc
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_has_the_scores_of_its_session(kind, tmp_path):
    make, report = MODELS[kind]
    model = make()
    net, session = Net(model, tmp_path, FLAGS, lanes=LANES), model.session()
    x = numbers(10, 3)
    if net.ids:
        x = np.random.default_rng(0).integers(0, 7, 10).astype(np.int32)
    for x_t in x:
        y, expected = net(x_t), session.step(x_t[np.newaxis]).reshape(-1)
        if report is None:
            np.testing.assert_array_equal(y, expected)
        else:
            np.testing.assert_array_equal(report(y), expected)


@needs_cc
def test_a_feed_forward_network_has_no_state(tmp_path):
    model = models.FeedForward(3, [5], 2, activation="relu", seed=0)
    net = Net(model, tmp_path, FLAGS, lanes=LANES)
    for x in numbers(5, 3):
        np.testing.assert_array_equal(net(x), model.network(x))


@needs_cc
def test_an_id_out_of_range_counts_as_0(tmp_path):
    model = Sequential([Embedding(4, 3, seed=0), fastcell.RNN(3, 3, seed=0)])
    net = Net(model, tmp_path, FLAGS, lanes=LANES)
    first = net(0)
    for wrong in (-1, 4, 2**31 - 1, -(2**31)):
        net.reset()
        np.testing.assert_array_equal(net(wrong), first)


@needs_cc
def test_states_are_apart_and_the_weights_are_those_of_the_export(tmp_path):
    layer = fastcell.GRU(3, 4, seed=0)
    session = layer.session().fork()
    net = Net(layer, tmp_path, FLAGS, lanes=LANES)
    x = numbers(6, 3)
    other = np.zeros_like(net.state)
    run(net, session, x[:3])
    kept, net.state = net.state, other
    again = layer.session()
    run(net, again, x[3:])
    net.state = kept
    run(net, session, x[3:])


def refused(model, match, **options):
    with pytest.raises(ValueError, match=match):
        fastcell.export_c(model, "never.c", **options)


def test_a_layer_without_a_form_in_c_is_named():
    gru = fastcell.GRU(3, 4)
    refused(fastcell.LSTM(3, 4, bidirectional=True), "LSTM, has no form.*bidirectional")
    refused(fastcell.GRU(3, 4, go_backwards=True), "GRU, has no form.*go_backwards")
    refused(Sequential({"a": gru, "b": Pooling(4)}), r"model.b, Pooling, has no form")
    refused(Sequential([gru, Embedding(3, 4)]), r"model.1, Embedding.*first")
    refused(Sequential([gru, Linear(5, 4)]), "model.1 must have 4 inputs, as it gets")
    refused(fastcell.GRU(3, 4, dtype=np.float64), "dtype is float64")
    refused(fastcell.GRU(3, 4).to("bf16"), "precision is bf16")
    refused(Attention(4, 4), "Attention, has no form in C: exported are")
    refused(Sequential([Activation("tanh")]), "knows its number of inputs")
    refused(Residual(Sequential([Linear(3, 4)])), "inputs' number; got 4")
    refused(models.SequenceClassifier(3, 4, 2, pooling="mean"), "pooling='last'")
    refused(models.SequenceTagger(3, 4, 2, bidirectional=True), "of one direction")
    refused(models.FrameModel(3, 4, head="mixture", residual=True), "head='values'")
    refused(gru.quantize(), "precision is int8")


def test_weights_that_are_not_finite_are_refused():
    layer = fastcell.GRU(3, 4)
    layer.params["bias_ih_l0"] = np.full(12, np.nan)
    refused(layer, r"model.bias_ih_l0 must be finite")


def test_arguments_are_checked(tmp_path):
    gru = fastcell.GRU(3, 4)
    refused(gru, "lanes must be of", lanes=3)
    refused(gru, "dtype", dtype="float64")
    refused(gru, "identifier of C", name="a-b")
    refused(fastcell.MinGRU(3, 4), "name must be another", name="min_gru")
    with pytest.raises(ValueError, match="path must be that of the C file"):
        fastcell.export_c(gru, tmp_path / "net.h")
    with pytest.raises(TypeError, match="model must be a layer or a model; got int"):
        fastcell.export_c(3, "never.c")
    with pytest.raises(TypeError, match="path must be a path"):
        fastcell.export_c(gru, 3)
    assert PLAIN == ISA
