"""The networks of fastcell's models in PyTorch, with the models' own weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twins.base import Twin

#: The twin of a model by the name of its class.
TWINS = {
    "LanguageModel": "language_model.LanguageModelTwin",
    "FrameModel": "frames.FrameTwin",
    "Forecaster": "forecaster.ForecasterTwin",
    "Captioner": "captioner.CaptionerTwin",
    "Seq2Seq": "seq2seq.Seq2SeqTwin",
    "SequenceClassifier": "sequences.ClassifierTwin",
    "SequenceRegressor": "sequences.RegressorTwin",
    "SequenceTagger": "sequences.TaggerTwin",
    "SpeechRecognizer": "speech.SpeechTwin",
}


def twin_of(model: Any, way: str = "padded") -> Twin:
    """Return the same network in PyTorch, with the weights of the model.

    Parameters
    ----------
    model : fastcell model
    way : {"padded", "packed"}
        How sequences of different length are run (twins/ragged.py).

    Raises
    ------
    ValueError
        If there is no twin of such a model, or no such way.
    """
    name = type(model).__name__
    if name not in TWINS:
        raise ValueError(f"model must be one of {', '.join(TWINS)}; got a {name}")
    module, _, twin = TWINS[name].partition(".")
    made = getattr(import_module(f"twins.{module}"), twin)(model)
    made.take(model)
    from twins.base import layers_of
    from twins.ragged import WAYS

    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}; got {way!r}")
    for layers in layers_of(made):
        layers.way = way
    return made
