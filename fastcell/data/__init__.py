"""Data of models: ragged sequences in batches, text in streams, and vocabularies."""

from fastcell.data.byte_pairs import BytePairVocabulary
from fastcell.data.csv_files import (
    CsvSequences,
    iter_csv_sequences,
    read_csv_sequences,
)
from fastcell.data.sequences import Sequences
from fastcell.data.streams import TextStreams
from fastcell.data.text import demo_text, read_text, split_text
from fastcell.data.vocabulary import CharVocabulary
from fastcell.data.words import WordVocabulary

__all__ = [
    "BytePairVocabulary",
    "CharVocabulary",
    "CsvSequences",
    "Sequences",
    "TextStreams",
    "WordVocabulary",
    "demo_text",
    "iter_csv_sequences",
    "read_csv_sequences",
    "read_text",
    "split_text",
]
