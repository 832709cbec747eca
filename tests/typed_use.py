"""Types of public results: mypy checks this file, and nothing runs it."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import fastcell
from fastcell.layers.sequential import SequentialSession
from fastcell.layers.session import Session
from fastcell.layers.trace import Trace
from fastcell.models import LanguageModel, Seq2Seq

Gradients = dict[str, np.ndarray]
Two = tuple[np.ndarray, np.ndarray]


def layers_of_one_state(gru: fastcell.GRU, rnn: fastcell.RNN, x: np.ndarray) -> None:
    y, h = gru(x)
    assert_type(y, np.ndarray)
    assert_type(h, np.ndarray)
    assert_type(rnn(x, h, lengths=[3]), tuple[np.ndarray, np.ndarray])
    _, h, saved = gru.forward(x)
    assert_type(h, np.ndarray)
    assert_type(gru.backward(y, saved), tuple[np.ndarray, np.ndarray, Gradients])
    assert_type(gru.to("bf16"), fastcell.GRU)
    assert_type(fastcell.GRU.from_config(gru.config()), fastcell.GRU)


def layers_of_two_states(lstm: fastcell.LSTM, x: np.ndarray) -> None:
    y, (h, c) = lstm(x)
    assert_type(y, np.ndarray)
    assert_type(h, np.ndarray)
    assert_type(c, np.ndarray)
    _, state, saved = lstm.forward(x, (h, c))
    assert_type(state, Two)
    assert_type(
        lstm.backward(None, saved, (h, None)), tuple[np.ndarray, Two, Gradients]
    )
    assert_type(lstm.quantize(), fastcell.LSTM)
    trace = lstm.trace(x, (h, c))
    assert_type(trace, Trace[Two])
    assert_type(trace["f"], np.ndarray)
    assert_type(trace.state, Two)


def matrix_memory(x: np.ndarray, gate: np.ndarray) -> None:
    y, (c, n, m) = fastcell.mlstm(x, x, x, gate, gate)
    assert_type(y, np.ndarray)
    assert_type(c, np.ndarray)
    assert_type(fastcell.mlstm(x, x, x, gate, gate, return_state=False), np.ndarray)
    y, state = fastcell.mlstm_step(x, x, x, gate, gate, (c, n, m), in_place=True)
    assert_type(state, tuple[np.ndarray, np.ndarray, np.ndarray])


def single_steps(
    gru: fastcell.GRUCell,
    rnn: fastcell.RNNCell,
    lstm: fastcell.LSTMCell,
    x: np.ndarray,
) -> None:
    assert_type(gru(x), np.ndarray)
    assert_type(rnn(x), np.ndarray)
    assert_type(lstm(x), Two)
    state, saved = lstm.forward(x)
    assert_type(state, Two)
    assert_type(lstm.backward(state, saved), tuple[np.ndarray, Two, Gradients])


def sessions(gru: fastcell.GRU, lstm: fastcell.LSTM, x: np.ndarray) -> None:
    session = lstm.session()
    assert_type(session, Session[Two])
    assert_type(session.step(x), np.ndarray)
    assert_type(session.step([0.5, 1.0], out=x), np.ndarray)
    assert_type(session.state, Two)
    assert_type(session.fork().state, Two)
    assert_type(gru.session(3).state, np.ndarray)


def pools(gru: fastcell.GRU, lstm: fastcell.LSTM, x: np.ndarray) -> None:
    pool = fastcell.StreamPool(lstm)
    assert_type(pool, fastcell.StreamPool[Two])
    assert_type(pool.step([0], x), np.ndarray)
    assert_type(pool.state([0]), Two)
    assert_type(fastcell.StreamPool(gru, 8).state([0]), np.ndarray)


def stateless_layers(linear: fastcell.Linear, x: np.ndarray) -> None:
    assert_type(linear(x), np.ndarray)
    y, saved = linear.forward(x)
    assert_type(linear.backward(y, saved), tuple[np.ndarray, Gradients])
    assert_type(fastcell.Attention(2, 3)(x, x), Two)


def containers(model: fastcell.Sequential, x: np.ndarray) -> None:
    session = model.session()
    assert_type(session, SequentialSession)
    assert_type(session.step(x), np.ndarray)
    assert_type(model.state_dict(), Gradients)


def generated(model: LanguageModel, ids: np.ndarray) -> None:
    assert_type(model.generate("To be", 80, top_k=3), str)
    assert_type(model.generate(ids, 80), np.ndarray)
    assert_type(model.generate([0, 1], 80), np.ndarray)
    assert_type(model.session(2).step(ids), np.ndarray)
    scores, _ = model.predict(ids)
    assert_type(scores, np.ndarray)


def translated(model: Seq2Seq, source: np.ndarray, asked: bool) -> None:
    assert_type(model.predict(source), list[list[int]])
    assert_type(model.predict(source, beam_size=4), list[list[int]])
    answers, weights = model.predict(source, return_attention=True)
    assert_type(answers, list[list[int]])
    assert_type(weights, list[np.ndarray])
    assert_type(
        model.predict(source, return_attention=asked),
        list[list[int]] | tuple[list[list[int]], list[np.ndarray]],
    )


def loaded(path: str) -> None:
    assert_type(fastcell.load(path), fastcell.Module)
    assert_type(fastcell.load(path, fastcell.LSTM), fastcell.LSTM)
    _, (h, _) = fastcell.load(path, expect=fastcell.LSTM)(np.zeros((3, 2)))
    assert_type(h, np.ndarray)
    assert_type(fastcell.load(path, LanguageModel).generate("a", 3), str)


def trained(model: LanguageModel, batch: Any) -> None:
    loss, saved = model.loss(batch)
    assert_type(loss, float)
    assert_type(model.backward(saved), Gradients)
    assert_type(fastcell.losses.mse(batch, batch)[0], float)
    each, _ = fastcell.losses.cross_entropy(batch, batch, reduction="none")
    assert_type(each, npt.NDArray[np.float64])
