"""Copies and pickles: of modules, sessions, pools, optimizers, runs and data."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from copied import (
    BATCHES,
    FLAT,
    IDS,
    MODULES,
    WAYS,
    B,
    H,
    I,
    X,
    numbers,
    out_of_band,
    results,
    same,
)
from refusals import refuses

import fastcell
import fastcell.callbacks
import fastcell.data
import fastcell.optim
from fastcell import layers, models
from fastcell.module import Module
from fastcell.train import History, Trainer

every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def public_classes():
    for place in (fastcell, layers, models):
        for name in getattr(place, "__all__", dir(place)):
            value = getattr(place, name)
            if inspect.isclass(value) and not inspect.isabstract(value):
                yield value


def test_every_public_module_is_among_those_that_are_copied():
    public = {c for c in public_classes() if issubclass(c, Module)}
    # Module itself is a base: classes of a script, below, are copied for it.
    assert public - {Module} == {type(make()) for make in MODULES.values()}


@every_way
@every_module
def test_a_copy_has_the_bits_of_the_original_and_goes_on_as_it_does(make, way):
    module = make()
    results(module)  # packs its weights, keeps memory, and draws
    other = way(module)
    assert type(other) is type(module) and other is not module
    assert same(results(other), results(module))
    assert same(results(other), results(module))  # generators, too


@every_way
@every_module
def test_a_copy_has_nothing_in_common_with_the_original(make, way):
    module, twin = make(), make()
    for each in (module, twin):
        results(each)
    other = way(module)
    for array in other.params.values():
        array[...] = 0.5
    for child in [other, *other.children().values()]:
        if hasattr(child, "_random"):
            child._random.random(3)
    assert same(results(module), results(twin))


def test_what_is_shared_is_shared_in_the_copy():
    model = MODULES["Sequential, tied"]()
    for way in WAYS.values():
        other = way(model)
        assert other.layers[3] is other.layers[0]
        assert list(other.params) == list(model.params)
        results(other)
        other.params["0.weight"][...] = 0
        assert not other.layers[1].params["weight"].any()
        assert model.params["0.weight"].all()


def test_arrays_of_a_file_or_read_only_ones_can_be_trained_in_the_copy():
    model, other = (MODULES["Sequential, tied"]() for _ in range(2))
    other = out_of_band(other)
    for each in (model, other):
        results(each)
        optimizer = fastcell.optim.Adam(each.params, lr=0.1)
        optimizer.step({n: np.ones_like(a) for n, a in each.state_dict().items()})
    assert same(results(other), results(model))


@pytest.mark.parametrize("way", [w for w in WAYS.values() if w is not out_of_band])
def test_who_gets_an_array_with_the_model_can_write_to_it(way):
    layer = fastcell.GRU(I, H, seed=0)
    layer(X)
    other, weight = way((layer, layer.params["weight_ih_l0"]))
    before = other(X)[0]
    weight *= 2
    expected = fastcell.GRU(I, H, seed=0)
    expected.params["weight_ih_l0"] = weight
    assert same([other(X)[0]], [expected(X)[0]])
    assert not same([other(X)[0]], [before])


@pytest.mark.parametrize("name", ["GRU, int8", "Linear", "LSTM, both ways"])
def test_a_pickle_holds_no_packed_weights_and_no_spare_memory(name):
    module = MODULES[name]()
    size = len(pickle.dumps(module))
    results(module)
    assert len(pickle.dumps(module)) == size


def test_a_copy_that_nobody_reaches_into_is_not_compared():
    layer = copy.deepcopy(fastcell.GRU(I, H, seed=0))
    layer(X)
    assert not layer.params._copies


def test_a_shallow_copy_shares_the_weights_and_both_notice_a_change():
    layer = fastcell.GRU(I, H, dropout=0.5, num_layers=2, seed=0)
    other = copy.copy(layer)
    assert other is not layer
    for each, change in ((layer, other), (other, layer)):
        before = each(X)[0]
        change.params["weight_ih_l0"][...] *= 2
        assert not same([each(X)[0]], [before])
        assert same([each(X)[0]], [change(X)[0]])
    assert other._random is layer._random


def test_a_shallow_copy_of_a_layer_has_a_precision_of_its_own():
    layer = fastcell.GRU(I, H, seed=0)
    before = layer(X)[0]
    assert not same([copy.copy(layer).to("bf16")(X)[0]], [before])
    assert layer.precision == "float32"
    assert same([layer(X)[0]], [before])


def test_a_shallow_copy_of_parameters_holds_the_same_arrays():
    layer = fastcell.Linear(I, I, seed=0)
    before = layer(X)
    copy.copy(layer.params)["weight"] *= 2
    assert not same([layer(X)], [before])


@pytest.mark.parametrize("name", ["LSTM", "Sequential", "LanguageModel", "FeedForward"])
def test_what_forward_saved_is_refused(name):
    module = MODULES[name]()
    if name in BATCHES:
        _, saved = module.loss(BATCHES[name])
    else:
        *_, saved = module.forward(IDS if name == "Sequential" else X)
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        refuses(TypeError, ["saved", "again"], way, saved)


# ---------------------------------------------------------------- sessions and pools


def read(session, steps):
    """Return what a session tells of some steps."""
    return [session.step(step) for step in steps]


SESSIONS = {
    "GRU": (lambda: fastcell.GRU(I, H, 2, seed=0), X),
    "LSTM": (lambda: fastcell.LSTM(I, H, proj_size=2, seed=0).to("bf16"), X),
    "RNN": (lambda: fastcell.RNN(I, H, seed=0).quantize(), X),
    "Sequential": (MODULES["Sequential"], IDS),
    "LanguageModel": (MODULES["LanguageModel"], IDS),
    "SequenceTagger": (MODULES["SequenceTagger"], IDS),
    "SequenceClassifier": (
        lambda: models.SequenceClassifier(I, H, 3, pooling="mean", seed=0),
        X,
    ),
    "FrameModel": (MODULES["FrameModel"], X),
    "Forecaster": (MODULES["Forecaster"], X),
    "SpeechRecognizer": (MODULES["SpeechRecognizer"], X),
}
every_session = pytest.mark.parametrize(
    "make, steps", SESSIONS.values(), ids=SESSIONS.keys()
)


@pytest.mark.parametrize("way", [*WAYS.values(), copy.copy], ids=[*WAYS, "copy"])
@every_session
def test_a_copied_session_goes_on_from_the_same_state(make, steps, way):
    session = make().session(B)
    read(session, steps)
    other = way(session)
    expected = read(session, steps)
    assert same(read(other, steps), expected)  # the state is its own, too


@every_session
def test_a_session_copied_with_its_model_stays_with_it(make, steps):
    model = make()
    session = model.session(B)
    read(session, steps)
    expected = session.step(steps[0])
    other, another = copy.deepcopy((model, model.session(B)))
    for array in other.params.values():
        array[...] = 0.25
    for name, array in other.state_dict().items():
        assert (array == 0.25).all(), name
    assert not same([another.step(steps[0])], [expected])
    twin = make()
    for name in twin.params:
        twin.params[name] = other.state_dict()[name]
    another.reset()
    assert same(read(another, steps), read(twin.session(B), steps))


def test_every_model_session_takes_the_newest_weights():
    for make, steps in SESSIONS.values():
        model = make()
        session, refreshed = model.session(B), model.session(B)
        for name in model.params:
            model.params[name] = model.state_dict()[name] * 2
        refreshed.refresh()
        expected = read(model.session(B), steps)
        for each in (session, refreshed):
            assert same(read(each, steps), expected)


@pytest.mark.parametrize("way", [*WAYS.values(), copy.copy], ids=[*WAYS, "copy"])
def test_a_copied_pool_has_the_same_streams(way):
    pool = fastcell.StreamPool(fastcell.LSTM(I, H, seed=0), capacity=2)
    a, b, c = pool.open(3)
    pool.step([c, a], FLAT[:2])
    pool.close([b])
    other = way(pool)
    assert len(other) == 2
    expected = pool.step([a, c], FLAT[1:])
    assert same([other.step([a, c], FLAT[1:])], [expected])
    with pytest.raises(KeyError):
        other.step([b], FLAT[:1])
    assert list(other.open(2)) == list(pool.open(2))
    (other if way is copy.copy else pool)._layer.params["bias_ih_l0"][...] = 1
    shared = same([other.step([a], FLAT[:1])], [pool.step([a], FLAT[:1])])
    assert shared == (way is copy.copy)


def test_a_pool_takes_the_newest_weights():
    layer = fastcell.GRU(I, H, seed=0)
    pool, session = fastcell.StreamPool(layer), layer.session(B)
    ids = pool.open(B)
    assert same([pool.step(ids, X[0])], [session.step(X[0])])
    layer.to("bf16").params["weight_hh_l0"][...] *= 2
    pool.refresh()
    assert same([pool.step(ids, X[1])], [session.step(X[1])])
    layer.to("float32").params["weight_hh_l0"][...] *= 2
    assert same([pool.step(ids, X[2])], [session.step(X[2])])


@pytest.mark.parametrize("name", ["session", "pool"])
@every_way
def test_a_layer_that_has_a_session_of_its_own_is_copied(way, name):
    layer = fastcell.GRU(I, H, seed=0)
    if name == "session":
        layer.own = layer.session()
        layer.own.step(FLAT[0])
    else:
        layer.own = fastcell.StreamPool(layer)
        layer.own.step(layer.own.open(), FLAT[:1])
    other, own = way((layer, layer.own))
    assert own is other.own and own._layer is other
    again = way(other)  # before its first use
    arguments = (FLAT[1],) if name == "session" else ([0], FLAT[1:2])
    expected = layer.own.step(*arguments)
    for each in (other, again):
        assert same([each.own.step(*arguments)], [expected])


# ------------------------------------------------------------- optimizers and runs

OPTIMIZERS = [
    lambda p: fastcell.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: fastcell.optim.RMSprop(p, lr=0.1),
    lambda p: fastcell.optim.Adagrad(p, lr=0.1),
    lambda p: fastcell.optim.Adam(p, lr=0.1, amsgrad=True),
    lambda p: fastcell.optim.AdamW(p, lr=0.1),
]
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS)


def one_step(model, optimizer):
    batch = BATCHES["LanguageModel"]
    optimizer.step(model.backward(model.loss(batch)[1]))
    return list(model.state_dict().values())


@every_way
@every_optimizer
def test_an_optimizer_copied_with_its_model_steps_the_copied_model(make, way):
    model = MODULES["LanguageModel"]()
    optimizer = make(model.params)
    one_step(model, optimizer)
    for value in ((model, optimizer), (optimizer, model)):
        parts = way(value)
        other, its = parts if parts[0].__class__ is type(model) else parts[::-1]
        kept = list(model.state_dict().values())
        stepped = one_step(other, its)
        assert same(model.state_dict().values(), kept)
    assert same(stepped, one_step(model, optimizer))


@every_way
def test_an_optimizer_copied_alone_has_arrays_of_its_own(way):
    model = fastcell.Linear(I, I, seed=0)
    optimizer = fastcell.optim.Adam(model.params, lr=0.1)
    kept = model.state_dict()
    grads = {name: np.ones_like(array) for name, array in kept.items()}
    way(optimizer).step(grads)
    assert same(model.state_dict().values(), kept.values())


def test_a_shallow_copy_of_an_optimizer_shares_the_parameters_alone():
    model = fastcell.Linear(I, I, seed=0)
    optimizer = fastcell.optim.Adam(model.params, lr=0.1)
    grads = {name: np.ones_like(array) for name, array in model.state_dict().items()}
    optimizer.step(grads)
    other, kept = copy.copy(optimizer), optimizer.state_dict()
    other.lr = 0.5
    before = model(X)
    other.step(grads)
    assert same(numbers(optimizer.state_dict()), numbers(kept))
    assert optimizer.lr == 0.1
    assert not same([model(X)], [before])


@every_way
def test_a_trainer_goes_on_in_the_copy(way):
    model = MODULES["LanguageModel"]()
    trainer = Trainer(
        model,
        fastcell.optim.Adam(model.params, lr=0.1),
        schedule=fastcell.optim.cosine(10),
        callbacks=[fastcell.callbacks.EarlyStopping(5)],
        progress=False,
    )
    data = [BATCHES["LanguageModel"]] * 3
    trainer.fit(data, data, epochs=2)
    other = way(trainer)
    assert other.history == trainer.history
    for each in (trainer, other):
        each.fit(data, data, epochs=3)
    assert same(other.model.state_dict().values(), model.state_dict().values())
    assert other.optimizer.steps == trainer.optimizer.steps


# -------------------------------------------------------------------------- the rest

SENTENCES = [["a", "b", "a"], ["b", "c"]]
ROWS = [np.full((n, I), n, np.float32) for n in (3, 1, 2)]


def table(folder):
    path = folder / "table.csv"
    path.write_text("id,x,label\na,1,p\na,2,p\nb,3,q\n")
    return fastcell.data.read_csv_sequences(path, "id", ["x"], "label")


def tokens(folder):
    return fastcell.data.write_tokens(folder / "ids.npy", [np.arange(20)], 20)


REST = {
    "CharVocabulary": lambda _: fastcell.data.CharVocabulary("abc"),
    "WordVocabulary": lambda _: fastcell.data.WordVocabulary(["a", "b", "a", "c"]),
    "BytePairVocabulary": lambda _: fastcell.data.BytePairVocabulary(
        ["abab aba"], 260, 1
    ),
    "TokenizerVocabulary": lambda _: fastcell.data.TokenizerVocabulary(
        fastcell.data.BytePairVocabulary(["abab aba"], 260, 1)._model
    ),
    "Sequences": lambda _: fastcell.data.Sequences(ROWS, [0, 1, 0], batch_size=2),
    "Windows": lambda _: fastcell.data.Windows(ROWS, given=1, ahead=1, batch_size=2),
    "SequencePairs": lambda _: fastcell.data.SequencePairs([[5, 6], [7]], [[2, 3]] * 2),
    "Utterances": lambda _: fastcell.data.Utterances(ROWS, [[1, 2], [2], [1]], 2),
    "TextStreams": lambda _: fastcell.data.TextStreams(np.arange(40), 2, 5),
    "TokenFile": tokens,
    "CsvSequences": table,
    "TableSequences": lambda _: fastcell.data.sequences_from_table(
        {"id": [1, None, 2], "x": [1, 2, 3]}, "id", "x", missing="skip"
    ),
    "step": lambda _: fastcell.optim.step(3),
    "cosine": lambda _: fastcell.optim.cosine(10),
    "warmup": lambda _: fastcell.optim.warmup(4, fastcell.optim.cosine(10)),
    "plateau": lambda _: fastcell.optim.plateau(patience=0),
    "EarlyStopping": lambda _: fastcell.callbacks.EarlyStopping(2),
    "SaveBest": lambda path: fastcell.callbacks.SaveBest(path / "best.safetensors"),
    "CSVLogger": lambda path: fastcell.callbacks.CSVLogger(path / "log.csv"),
    "JSONLogger": lambda path: fastcell.callbacks.JSONLogger(path / "log.jsonl"),
    "History": lambda _: History([{"step": 1, "valid_loss": 2.0}]),
}


def told(value):
    """Return what one of them tells of itself, as arrays."""
    if isinstance(value, fastcell.optim.Schedule):
        if hasattr(value, "update"):
            for loss in (3.0, 4.0):
                value.update(loss)
        return [np.array([value(step) for step in range(12)])]
    if hasattr(value, "encode"):
        words = hasattr(value, "words")
        texts = [["c", "a"], ["b"]] if words else ["caba", "abc"]
        return [np.asarray(value.encode(text)) for text in texts]
    if isinstance(value, fastcell.data.TokenFile):
        return [np.asarray(value[3:9])]
    if hasattr(value, "epoch"):
        value = value.epoch(1)
    if isinstance(value, (str, type(None))) or not hasattr(value, "__iter__"):
        return [np.array(repr(value))]
    return [a for part in value for a in told_part(part)]


def told_part(part):
    return list(numbers(part)) or [np.array(repr(part))]


@pytest.mark.parametrize("way", [*WAYS.values(), copy.copy], ids=[*WAYS, "copy"])
@pytest.mark.parametrize("name", REST)
def test_the_rest_is_copied(name, way, tmp_path):
    if name in ("BytePairVocabulary", "TokenizerVocabulary"):
        pytest.importorskip("tokenizers")
    value = REST[name](tmp_path)
    other = way(value)
    assert type(other) is type(value)
    assert same(told(other), told(value))
    assert getattr(other, "skipped", 0) == getattr(value, "skipped", 0)


def test_every_other_public_class_is_among_them():
    places = (fastcell.data, fastcell.optim, fastcell.callbacks, fastcell.train)
    public = {
        name
        for place in places
        for name in place.__all__
        if inspect.isclass(getattr(place, name))
    }
    optimizers = {make({"a": np.zeros(1)}).__class__.__name__ for make in OPTIMIZERS}
    bases = {"Optimizer", "Schedule"}
    assert public - set(REST) - optimizers - bases == {"Trainer", "TrainingInterrupted"}


def test_a_copied_vocabulary_does_not_take_a_text_for_a_special_token():
    pytest.importorskip("tokenizers")
    vocabulary = REST["BytePairVocabulary"](None)
    for way in WAYS.values():
        assert 0 not in way(vocabulary).encode("<pad>")


# ------------------------------------------------------------------ other processes


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_have_the_same_bits(start):
    made = [MODULES[name]() for name in ("LSTM", "Sequential, tied", "Seq2Seq")]
    expected = [results(make) for make in copy.deepcopy(made)]
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for found, wanted in zip(pool.map(results, made), expected, strict=True):
            assert same(found, wanted)


OF_MAIN = """
import copy, pickle
import numpy as np, fastcell
from fastcell.module import Module

class Twice(Module):
    def __init__(self):
        self.note = "mine"
        self.rnn = fastcell.GRU(2, 3, seed=0)
        self.session = self.rnn.session()

    def children(self):
        return {"rnn": self.rnn}

    def __call__(self, x):
        return self.rnn(x)[0], self.session.step(x[0])

module, x = Twice(), np.ones((4, 2), np.float32)
module(x)
for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
    assert other.session._layer is other.rnn and other.note == "mine"
    expected = [a.tobytes() for a in copy.deepcopy(module)(x)]
    assert [a.tobytes() for a in other(x)] == expected
print("same")
"""


def test_classes_of_a_script_are_copied(run_python):
    done = run_python(OF_MAIN)
    assert done.stdout.strip() == "same", done.stderr


def scores(model, x, lengths):
    return model.predict_proba(x, lengths)


def ragged():
    """A classifier, and batches of sequences of different lengths."""
    model = models.SequenceClassifier(I, H, 3, seed=0)
    random = np.random.default_rng(1)
    batches = []
    for _ in range(6):
        lengths = random.integers(1, 9, 4)
        x = random.standard_normal((8, 4, I)).astype(np.float32)
        batches.append((x, lengths))
    scores(model, *batches[0])
    return model, batches, [scores(model, *batch) for batch in batches]


@pytest.mark.peers
def test_joblib_has_the_same_bits():
    joblib = pytest.importorskip("joblib")
    model, batches, expected = ragged()
    # max_nbytes: every array goes as a read-only map of a file.
    parallel = joblib.Parallel(n_jobs=2, max_nbytes=1, mmap_mode="r")
    assert same(parallel(joblib.delayed(scores)(model, *b) for b in batches), expected)


@pytest.mark.peers
def test_dask_has_the_same_bits():
    distributed = pytest.importorskip("dask.distributed")
    model, batches, expected = ragged()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        everywhere = client.scatter(model, broadcast=True)
        places = list(client.scheduler_info()["workers"])
        futures = [
            client.submit(scores, everywhere, *batch, workers=[places[i % 2]])
            for i, batch in enumerate(batches)
        ]
        assert same(client.gather(futures), expected)
