"""Recipes of the models and their sessions."""

from __future__ import annotations

import functools

import numpy as np
from calls_of_layers import OPTIONAL, SEED, reals
from public_calls import recipe

from fastcell import models

MODEL = {"num_layers": 1, "cell": "gru", "dropout": 0.0, "dtype": np.float32, "seed": 0}
MODEL["layer_options"] = {"init": "orthogonal", "zoneout": 0.1}
SHARED = {"seed": SEED, "precision": OPTIONAL, "layer_options": OPTIONAL}

# The constructors' arguments beside those above, and which of them may be None.
_MODELS = {
    models.LanguageModel: (
        {"vocab_size": 4, "embedding_dim": 3, "hidden_size": 3, "tie_weights": True,
         "sampled_softmax": 2, "vocabulary": "abcd"},
        "sampled_softmax vocabulary",
    ),
    models.SequenceClassifier: (
        {"input_size": 5, "hidden_size": 3, "num_classes": 2, "bidirectional": False,
         "pooling": "last", "embedding_dim": 2, "classes": ["a", "b"],
         "class_weight": [1.0, 2.0]},
        "embedding_dim classes class_weight",
    ),
    models.SequenceTagger: (
        {"input_size": 5, "hidden_size": 3, "num_classes": 2, "bidirectional": False,
         "embedding_dim": 2, "classes": [7, 8], "class_weight": [1.0, 2.0]},
        "embedding_dim classes class_weight",
    ),
    models.SequenceRegressor: (
        {"input_size": 5, "hidden_size": 3, "output_size": 2, "bidirectional": False,
         "pooling": "mean", "embedding_dim": 2, "loss": "huber", "delta": 0.5,
         "ignore_nan": True},
        "embedding_dim delta",
    ),
    models.SpeechRecognizer: (
        {"input_size": 2, "hidden_size": 3, "num_labels": 2, "bidirectional": False,
         "vocabulary": ["a", "b"]},
        "num_labels vocabulary",
    ),
    models.Captioner: (
        {"image_size": 2, "vocab_size": 6, "embedding_dim": 2, "hidden_size": 3,
         "bos": 2, "eos": 3},
        "",
    ),
    models.Seq2Seq: (
        {"source_vocab": 5, "target_vocab": 6, "embedding_dim": 2, "hidden_size": 4,
         "bidirectional": True, "attention": "additive", "input_feeding": True,
         "bos": 2, "eos": 3},
        "attention",
    ),
    models.Forecaster: (
        {"frame_size": 2, "hidden_size": 3, "residual": True, "loss": "huber",
         "delta": 0.5, "ignore_nan": True},
        "delta",
    ),
    models.FrameModel: (
        {"frame_size": 2, "hidden_size": 3, "head": "mixture", "mixtures": 2,
         "correlated": True, "min_scale": 0.1, "residual": True, "input_size": 3,
         "ignore_nan": True},
        "mixtures correlated input_size",
    ),
}  # fmt: skip

for _class, (_sizes, _optional) in _MODELS.items():
    _accepts = {**SHARED, **dict.fromkeys(_optional.split(), OPTIONAL)}
    if _class is models.FrameModel:
        _accepts["min_scale"] = "huge"
    if "delta" in _sizes:
        _accepts["delta"] = "none huge"
    if _class is models.LanguageModel:
        _accepts["vocabulary"] = "none str"
    if _class is models.Seq2Seq:
        _sizes["input_feeding"] = False

    @recipe(_class.__qualname__, **_accepts)
    def _(cls=_class, sizes=_sizes):
        return cls, {**MODEL, **sizes, "precision": "bf16"}


@recipe("FrameModel", delta="none huge")
def _():
    arguments = {"frame_size": 2, "hidden_size": 3, "head": "values"}
    return models.FrameModel, {**arguments, "loss": "huber", "delta": 0.5}


@recipe("FrameModel", pos_weight=OPTIONAL)
def _():
    arguments = {"frame_size": 2, "hidden_size": 3, "head": "bernoulli"}
    return models.FrameModel, {**arguments, "pos_weight": [1.0, 2.0]}


@recipe("FeedForward", seed=SEED, classes=OPTIONAL)
def _():
    return models.FeedForward, {
        "input_size": 2,
        "hidden_sizes": [3],
        "output_size": 2,
        "activation": "relu",
        "task": "classification",
        "dropout": 0.1,
        "classes": ["a", "b"],
        "dtype": np.float32,
        "seed": 0,
    }


@recipe("FeedForward", hidden_sizes="")
def _():
    arguments = {"input_size": 2, "hidden_sizes": [3], "output_size": 1}
    return models.FeedForward, {**arguments, "task": "regression"}


# ---------------------------------------------------------------- one model of each

X = reals(4, 2, 2)  # T, B, I
IDS = np.array([[1, 2], [3, 0], [1, 1]])  # T, B
TARGET = np.array([[2, 2], [4, 5], [4, 5], [3, 3]])  # from bos to eos
LENGTHS = np.array([3, 2])
OF_X = np.array([4, 2])
_MADE = {
    "LanguageModel": (lambda: models.LanguageModel(4, 2, 3, vocabulary="abcd"), 1),
    "FeedForward": (lambda: models.FeedForward(2, [3], 2), 0),
    "SequenceModel": (lambda: models.SequenceClassifier(2, 3, 2), 0),
    "SequenceTagger": (lambda: models.SequenceTagger(2, 3, 2), 0),
    "SequenceRegressor": (lambda: models.SequenceRegressor(2, 3, 2), 0),
    "SpeechRecognizer": (
        lambda: models.SpeechRecognizer(2, 3, vocabulary=["a", "b"]),
        0,
    ),
    "Captioner": (lambda: models.Captioner(2, 6, 2, 3), 0),
    "Seq2Seq": (lambda: models.Seq2Seq(5, 6, 2, 4), 0),
    "Forecaster": (lambda: models.Forecaster(2, 3), 0),
    "FrameModel": (lambda: models.FrameModel(2, 3, head="mixture", mixtures=2), 1),
}
# The parts of a batch: by the names that errors call them.
_BATCHES = {
    "LanguageModel": {"inputs": IDS[:-1], "targets": IDS[1:]},
    "FeedForward": {"x": reals(3, 2), "y": np.array([0, 1, 1])},
    "SequenceModel": {"x": X, "lengths": OF_X, "y": np.array([0, 1])},
    "SequenceTagger": {"x": X, "lengths": OF_X, "y": np.ones((4, 2), int)},
    "SequenceRegressor": {"x": X, "lengths": OF_X, "y": reals(2, 2)},
    "SpeechRecognizer": {
        "x": X,
        "lengths": OF_X,
        "labels": np.array([[1, 2], [2, 1]]),
        "label_lengths": np.array([2, 1]),
    },
    "Captioner": {
        "captions": TARGET,
        "lengths": np.array([4, 4]),
        "images": reals(2, 2),
    },
    "Seq2Seq": {
        "source": IDS,
        "source_lengths": LENGTHS,
        "target": TARGET,
        "target_lengths": np.array([4, 4]),
    },
    "Forecaster": {"x": X, "lengths": OF_X, "y": reals(2, 2, 2)},
    "FrameModel": {"x": X, "lengths": OF_X, "y": reals(4, 2, 2)},
}


@functools.cache
def model(name):
    return _MADE[name][0]()


def _of_parts(method, parts):
    def call(**parts):
        return method(tuple(parts.values()))

    return call, dict(parts)


for _name, _parts in _BATCHES.items():
    # Models whose batches continue one another take a state of None.
    _state = {"state": OPTIONAL}
    for _method in ("loss", "assess", "evaluate", "count"):
        _owner = {
            "assess": "Model" if _name == "LanguageModel" else _name,
            "evaluate": "LanguageModel" if _name == "LanguageModel" else "ScoredModel",
            "count": "DecoderModel" if _name in ("Captioner", "Seq2Seq") else _name,
            "loss": _name,
        }[_method]
        if _name in ("SequenceTagger", "SequenceRegressor") and _method != "evaluate":
            _owner = "SequenceModel"

        @recipe(f"{_owner}.{_method}", **_state)
        def _(name=_name, method=_method, parts=_parts):
            arguments = {"batch": tuple(parts.values())}
            if method != "count":
                arguments["state"] = None
            return getattr(model(name), method), arguments

        _takes = {n: OPTIONAL for n in _parts if "lengths" in n}

        @recipe(f"{_owner}.{_method}", **_takes)
        def _(name=_name, method=_method, parts=_parts):
            return _of_parts(getattr(model(name), method), parts)

    if _name in ("SequenceTagger", "SequenceRegressor", "FrameModel"):
        _owner = "SequenceModel"
    else:
        _owner = _name

    @recipe(f"{_owner}.backward")
    def _(name=_name, parts=_parts):
        _, saved = model(name).loss(tuple(parts.values()))
        return model(name).backward, {"saved": saved}


_WEIGHTED = {
    "SequenceModel": "SequenceModel",
    "SequenceTagger": "SequenceModel",
    "Forecaster": "Forecaster",
    "FrameModel": "FrameModel",
}
for _name, _owner in _WEIGHTED.items():
    _parts = {**_BATCHES[_name], "weights": np.array([1.0, 2.0])}

    @recipe(f"{_owner}.loss", lengths=OPTIONAL, weights=OPTIONAL)
    def _(name=_name, parts=_parts):
        return _of_parts(model(name).loss, parts)


for _name, _owner in {"FeedForward": "Model", **_WEIGHTED}.items():
    if _owner != "FrameModel":

        @recipe(f"{_owner}.total_weight")
        def _(name=_name):
            batch = tuple(_BATCHES[name].values())
            return model(name).total_weight, {"batch": batch}


def _state():
    h = np.zeros((1, 2, 3), np.float32)
    return h, h


for _method in ("__call__", "forward", "predict"):

    @recipe(f"LanguageModel.{_method}", state=OPTIONAL)
    def _(method=_method):
        call = getattr(model("LanguageModel"), method)
        return call, {"ids": IDS, "state": _state()}


@recipe("LanguageModel.loss", state=OPTIONAL)
def _():
    batch = tuple(_BATCHES["LanguageModel"].values())
    return model("LanguageModel").loss, {"batch": batch, "state": _state()}


@recipe("LanguageModel.metrics", loss="huge nan negative")
def _():
    return model("LanguageModel").metrics, {"loss": 1.0}


@recipe("Model.metrics", loss="huge nan negative")
def _():
    return model("SequenceModel").metrics, {"loss": 1.0}


@recipe(
    "Generating.generate", top_k=OPTIONAL, top_p=OPTIONAL, seed=SEED, temperature="huge"
)
def _():
    return model("LanguageModel").generate, {
        "prompt": np.array([1, 2]),
        "length": 3,
        "temperature": 1.0,
        "top_k": 2,
        "top_p": 0.9,
        "seed": 0,
    }


@recipe("Generating.generate")
def _():
    return model("LanguageModel").generate, {"prompt": "ab", "length": 3}


_X_AND_LENGTHS = {"x": X, "lengths": OF_X}
_SEQUENCES = {
    "SequenceModel.__call__": "SequenceModel",
    "SequenceClassifier.predict": "SequenceModel",
    "SequenceClassifier.predict_proba": "SequenceModel",
    "SequenceTagger.predict": "SequenceTagger",
    "SequenceTagger.predict_proba": "SequenceTagger",
    "SequenceRegressor.predict": "SequenceRegressor",
    "FrameModel.predict": "FrameModel",
    "SpeechRecognizer.scores": "SpeechRecognizer",
}
for _key, _name in _SEQUENCES.items():
    _method = _key.partition(".")[2]

    @recipe(_key, lengths=OPTIONAL)
    def _(name=_name, method=_method):
        return getattr(model(name), method), dict(_X_AND_LENGTHS)


for _method in ("__call__", "predict", "transcribe"):

    @recipe(f"SpeechRecognizer.{_method}", lengths=OPTIONAL)
    def _(method=_method):
        call = getattr(model("SpeechRecognizer"), method)
        return call, {**_X_AND_LENGTHS, "beam_size": 2}


for _method in ("__call__", "predict", "predict_proba"):

    @recipe(f"FeedForward.{_method}")
    def _(method=_method):
        return getattr(model("FeedForward"), method), {"x": reals(3, 2)}


_SEARCH = {"max_length": 3, "length_penalty": 0.6}
_SEARCH_ACCEPTS = {"seed": SEED, "length_penalty": "huge", "temperature": "huge"}


@recipe("Captioner.predict", length_penalty="", temperature="")
def _():
    return model("Captioner").predict, {
        "images": reals(2, 2),
        "beam_size": 2,
        **_SEARCH,
    }


@recipe("Captioner.predict", seed=SEED, temperature="huge")
def _():
    options = {"max_length": 3, "temperature": 1.0, "seed": 0}
    return model("Captioner").predict, {"images": reals(2, 2), **options}


@recipe("Seq2Seq.predict", lengths=OPTIONAL, length_penalty="")
def _():
    return model("Seq2Seq").predict, {
        "source": IDS,
        "lengths": LENGTHS,
        "beam_size": 2,
        **_SEARCH,
        "return_attention": True,
    }


@recipe("Seq2Seq.predict", seed=SEED, temperature="huge")
def _():
    options = {"max_length": 3, "temperature": 1.0, "seed": 0}
    return model("Seq2Seq").predict, {"source": IDS, **options}


@recipe("Seq2Seq.attend", lengths=OPTIONAL)
def _():
    arguments = {"source": IDS, "lengths": LENGTHS, "answers": [[4], [5, 5]]}
    return model("Seq2Seq").attend, arguments


@recipe("Seq2Seq.loss")
def _():
    batch = tuple(_BATCHES["Seq2Seq"].values())
    return model("Seq2Seq").loss, {"batch": batch, "sampling": 0.1}


@recipe("Forecaster.predict", lengths=OPTIONAL)
def _():
    return model("Forecaster").predict, {**_X_AND_LENGTHS, "horizon": 2}


@recipe(
    "FrameModel.generate",
    temperature="huge",
    first_frames=OPTIONAL,
    seed=SEED,
    count=OPTIONAL,
)
def _():
    return model("FrameModel").generate, {
        "first_frames": reals(1, 2),
        "length": 3,
        "temperature": 1.0,
        "seed": 0,
        "count": 2,
    }


@recipe("FrameModel.log_likelihood", state=OPTIONAL)
def _():
    batch = tuple(_BATCHES["FrameModel"].values())
    return model("FrameModel").log_likelihood, {"batch": batch, "state": _state()}


# --------------------------------------------------------------------------- sessions

for _name in (
    "LanguageModel",
    "SequenceModel",
    "SpeechRecognizer",
    "Forecaster",
    "FrameModel",
):

    @recipe(f"{_name}.session")
    def _(name=_name):
        return model(name).session, {"batch_size": 2}


_SESSIONS = {
    "ModelSession": "SequenceModel",
    "ForecastSession": "Forecaster",
    "FrameSession": "FrameModel",
}
for _key, _name in _SESSIONS.items():

    @recipe(f"{_key}.step")
    def _(name=_name):
        return model(name).session(2).step, {"x": X[0]}

    @recipe(f"{_key}.reset", rows="none negative")
    def _(name=_name):
        return model(name).session(2).reset, {"rows": [1]}


@recipe("ForecastSession.forecast")
def _():
    session = model("Forecaster").session(2)
    session.step(X[0])
    return session.forecast, {"horizon": 2}


@recipe("FrameSession.draw", temperature="huge")
def _():
    return model("FrameModel").session(2).draw, {
        "x": X[0],
        "temperature": 1.0,
        "random": np.random.default_rng(0),
    }


@recipe("FrameSession.state", state=OPTIONAL)
def _():
    session = model("FrameModel").session(2)

    def set_state(state):
        session.state = state

    return set_state, {"state": session.state}


# --------------------------------------------------------------------------- decoding


@recipe("greedy", lengths=OPTIONAL)
def _():
    from fastcell.models.search.ctc_decoding import greedy

    return greedy, {"logits": reals(4, 2, 3), "lengths": OF_X, "blank": 0}


@recipe("prefix_beam_search", lengths=OPTIONAL)
def _():
    from fastcell.models.search.ctc_decoding import prefix_beam_search

    arguments = {"logits": reals(4, 2, 3), "lengths": OF_X, "blank": 0}
    return prefix_beam_search, {**arguments, "beam_size": 2}
