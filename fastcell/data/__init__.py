"""Text for language models: reading, splitting, symbols to ids, streams of windows."""

from fastcell.data.streams import TextStreams
from fastcell.data.text import demo_text, read_text, split_text
from fastcell.data.vocabulary import CharVocabulary

__all__ = ["CharVocabulary", "TextStreams", "demo_text", "read_text", "split_text"]
