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


def twin_of(model: Any) -> Twin:
    """Return the same network in PyTorch, with the weights of the model.

    Raises
    ------
    ValueError
        If there is no twin of such a model.
    """
    name = type(model).__name__
    if name not in TWINS:
        raise ValueError(f"model must be one of {', '.join(TWINS)}; got a {name}")
    module, _, twin = TWINS[name].partition(".")
    made = getattr(import_module(f"twins.{module}"), twin)(model)
    made.take(model)
    return made
