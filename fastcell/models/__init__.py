"""Sequence models: layers assembled into a loss, its gradient and a prediction."""

from fastcell.models.base import Model
from fastcell.models.classifier import SequenceClassifier
from fastcell.models.feed_forward import FeedForward
from fastcell.models.language_model import LanguageModel
from fastcell.models.regressor import SequenceRegressor
from fastcell.models.tagger import SequenceTagger

__all__ = [
    "FeedForward",
    "LanguageModel",
    "Model",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
]
from fastcell.models.speech_recognizer import SpeechRecognizer

__all__ = ["LanguageModel", "Model", "SpeechRecognizer"]
from fastcell.models.captioner import Captioner
from fastcell.models.language_model import LanguageModel
from fastcell.models.seq2seq import Seq2Seq

__all__ = ["Captioner", "LanguageModel", "Model", "Seq2Seq"]
