"""Sequence models: layers assembled into a loss, its gradient and a prediction."""

from fastcell.models.captioner import Captioner
from fastcell.models.classifier import SequenceClassifier
from fastcell.models.feed_forward import FeedForward
from fastcell.models.forecaster import Forecaster
from fastcell.models.frame_model import FrameModel
from fastcell.models.language_model import LanguageModel
from fastcell.models.parts.base import Model
from fastcell.models.regressor import SequenceRegressor
from fastcell.models.seq2seq import Seq2Seq
from fastcell.models.speech_recognizer import SpeechRecognizer
from fastcell.models.tagger import SequenceTagger

__all__ = [
    "Captioner",
    "FeedForward",
    "Forecaster",
    "FrameModel",
    "LanguageModel",
    "Model",
    "Seq2Seq",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "SpeechRecognizer",
]
