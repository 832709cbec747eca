"""Sequence models: layers assembled into a loss, its gradient and a prediction."""

from fastcell.models.base import Model
from fastcell.models.language_model import LanguageModel

__all__ = ["LanguageModel", "Model"]
