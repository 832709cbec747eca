"""Data sets and vocabularies: batches of sequences, text, tables and sound."""

from fastcell.data.arrays import read_npz
from fastcell.data.audio import (
    frames,
    log_mel,
    mel_filters,
    mfcc,
    stack_frames,
)
from fastcell.data.byte_pairs import BytePairVocabulary
from fastcell.data.csv_files import (
    CsvSequences,
    iter_csv_sequences,
    read_csv_sequences,
)
from fastcell.data.pairs import SequencePairs
from fastcell.data.scaling import mean_and_spread, normalize
from fastcell.data.sequences import Sequences
from fastcell.data.streams import TextStreams
from fastcell.data.tables import TableSequences, sequences_from_table
from fastcell.data.text import (
    demo_text,
    iter_text,
    read_text,
    split_text,
)
from fastcell.data.token_files import TokenFile, encode_file, write_tokens
from fastcell.data.tokenizer import TokenizerVocabulary
from fastcell.data.utterances import Utterances
from fastcell.data.vocabulary import CharVocabulary
from fastcell.data.wav import read_wav
from fastcell.data.windows import Windows
from fastcell.data.words import WordVocabulary, iter_words

__all__ = [
    "BytePairVocabulary",
    "CharVocabulary",
    "CsvSequences",
    "SequencePairs",
    "Sequences",
    "TableSequences",
    "TextStreams",
    "TokenFile",
    "TokenizerVocabulary",
    "Utterances",
    "Windows",
    "WordVocabulary",
    "demo_text",
    "encode_file",
    "frames",
    "iter_csv_sequences",
    "iter_text",
    "iter_words",
    "log_mel",
    "mean_and_spread",
    "mel_filters",
    "mfcc",
    "normalize",
    "read_csv_sequences",
    "read_npz",
    "read_text",
    "read_wav",
    "sequences_from_table",
    "split_text",
    "stack_frames",
    "write_tokens",
]
