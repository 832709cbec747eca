"""Text for language models: reading, splitting, vocabulary, streams."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from fastcell.data import (
    CharVocabulary,
    TextStreams,
    demo_text,
    read_text,
    split_text,
)

# Plain, with line ends, several scripts, beyond the 16-bit range, lone surrogates.
TEXTS = [
    "hello",
    "a\r\n\tb\0",
    "žluťoučký kůň",
    "漢字かな",
    "a😀b\U0010ffff",
    "\ud800x",
]


class TestVocabulary:
    @pytest.mark.parametrize("text", TEXTS)
    def test_decode_undoes_encode(self, text):
        vocabulary = CharVocabulary.from_text(text)
        ids = vocabulary.encode(text)
        assert ids.dtype == np.int32
        assert ids.shape == (len(text),)
        assert vocabulary.decode(ids) == text

    @pytest.mark.parametrize("text", TEXTS)
    def test_ids_are_places_among_the_symbols(self, text):
        vocabulary = CharVocabulary.from_text(text)
        assert vocabulary.symbols == tuple(sorted(set(text)))
        assert vocabulary.encode(text).tolist() == [
            vocabulary.symbols.index(character) for character in text
        ]

    @pytest.mark.parametrize("text", TEXTS)
    def test_json_and_back(self, text):
        vocabulary = CharVocabulary(sorted(set(text), reverse=True))
        again = CharVocabulary.from_json(vocabulary.to_json())
        assert again == vocabulary
        assert hash(again) == hash(vocabulary)
        assert again.symbols == vocabulary.symbols
        assert tuple(json.loads(vocabulary.to_json())) == vocabulary.symbols

    def test_order_of_symbols_is_kept(self):
        vocabulary = CharVocabulary("helo")
        assert vocabulary.encode("hello").tolist() == [0, 1, 2, 2, 3]
        assert vocabulary != CharVocabulary("ehlo")
        assert vocabulary != ("h", "e", "l", "o")
        assert len(vocabulary) == 4
        assert "h" in vocabulary
        assert "x" not in vocabulary

    def test_nothing_is_a_text(self):
        vocabulary = CharVocabulary("ab")
        assert vocabulary.encode("").shape == (0,)
        assert vocabulary.decode([]) == ""
        assert vocabulary.decode(np.zeros(0, np.int32)) == ""

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
    def test_ids_of_any_integer_dtype(self, dtype):
        assert CharVocabulary("abc").decode(np.array([2, 0], dtype)) == "ca"
        assert CharVocabulary("abc").decode(dtype(1)) == "b"

    @pytest.mark.parametrize(
        "text, message",
        [
            ("abXc", r"text\[2\] is 'X' \(U\+0058\).*3 symbols"),
            ("é", r"text\[0\] is 'é' \(U\+00E9\)"),
            ("abc😀", r"text\[3\] is '😀' \(U\+1F600\)"),
            ("a\0", r"text\[1\] is '\\x00' \(U\+0000\)"),
            # Just beyond the largest symbol, and the first of two.
            ("dX", r"text\[0\] is 'd'"),
        ],
    )
    def test_unknown_character_is_named(self, text, message):
        with pytest.raises(ValueError, match=message):
            CharVocabulary("abc").encode(text)

    @pytest.mark.parametrize("text", [b"abc", None, 3, ["a"]])
    def test_text_must_be_a_string(self, text):
        with pytest.raises(TypeError, match="text must be a string"):
            CharVocabulary("abc").encode(text)

    @pytest.mark.parametrize(
        "ids, error, message",
        [
            ([0, 3], ValueError, r"0 to 2; got 3 at \(1,\)"),
            ([-1], ValueError, r"0 to 2; got -1 at \(0,\)"),
            ([[0, 1]], ValueError, r"one dimension.*\(1, 2\)"),
            ([0.0], TypeError, "float64"),
            ([True], TypeError, "bool"),
        ],
    )
    def test_bad_id_is_named(self, ids, error, message):
        with pytest.raises(error, match=message):
            CharVocabulary("abc").decode(ids)

    @pytest.mark.parametrize(
        "symbols, error, message",
        [
            ("", ValueError, "at least one"),
            ("aba", ValueError, "'a' at 0 and at 2"),
            (["a", "bc"], ValueError, r"symbols\[1\].*'bc'"),
            (["a", ""], ValueError, r"symbols\[1\].*''"),
            (["a", 1], TypeError, r"symbols\[1\].*1"),
        ],
    )
    def test_bad_symbol_is_named(self, symbols, error, message):
        with pytest.raises(error, match=message):
            CharVocabulary(symbols)

    def test_vocabulary_of_no_text(self):
        with pytest.raises(ValueError, match="text must not be empty"):
            CharVocabulary.from_text("")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "nonsense",
            '"ab"',
            '{"a": 0}',
            "[]",
            '["a", "a"]',
            '["ab"]',
            "[1]",
            '["a"',
            "[" * 100_000,
        ],
    )
    def test_bad_json_is_one_error(self, text):
        with pytest.raises(ValueError, match=r"vocabulary|symbols"):
            CharVocabulary.from_json(text)

    def test_encoding_has_no_python_loop_over_characters(self):
        # Lines of Python are counted, not seconds, as the machine may be busy. A loop
        # would take one or more for each of the 200,000 characters.
        vocabulary, text = CharVocabulary("ab"), "ab" * 100_000
        lines = 0

        def count(frame, event, argument):
            nonlocal lines
            lines += event == "line"
            return count

        sys.settrace(count)
        try:
            vocabulary.encode(text)
        finally:
            sys.settrace(None)
        assert 0 < lines < 100


class TestReadText:
    @pytest.mark.parametrize(
        "content, text",
        [
            (b"to be", "to be"),
            (b"a\r\nb\rc\n", "a\nb\nc\n"),
            ("žluť 😀".encode(), "žluť 😀"),
            (b"\xef\xbb\xbfmark", "mark"),
            (b"\0", "\0"),
        ],
    )
    def test_content_is_read(self, tmp_path, content, text):
        path = tmp_path / "text.txt"
        path.write_bytes(content)
        assert read_text(path) == text
        assert read_text(str(path)) == text

    @pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
    def test_empty_file(self, tmp_path, content):
        path = tmp_path / "text.txt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"text\.txt: the file is empty"):
            read_text(path)

    @pytest.mark.parametrize(
        "content, message",
        [
            (b"caf\xe9 au lait", "byte 3 is 0xe9"),
            (b"\xff\xfea\0", "byte 0 is 0xff"),
            (b"ab\xc3", "byte 2 is 0xc3"),
            (b"\xed\xa0\x80", "byte 0 is 0xed"),
        ],
    )
    def test_other_encoding(self, tmp_path, content, message):
        path = tmp_path / "text.txt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"text\.txt: .*UTF-8; {message}"):
            read_text(path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"No such file.*none\.txt"):
            read_text(tmp_path / "none.txt")

    def test_folder(self, tmp_path):
        with pytest.raises(IsADirectoryError, match=str(tmp_path)):
            read_text(tmp_path)

    def test_file_that_fails_while_it_is_read_is_named(self, tmp_path, monkeypatch):
        path = tmp_path / "text.txt"
        path.write_bytes(b"text")

        class Failing:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                return False

            def read(self, size):
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(
            "fastcell.data.files.open", lambda *args: Failing(), raising=False
        )
        with pytest.raises(OSError, match=r"Input/output error.*text\.txt"):
            read_text(path)

    def test_file_without_permission_is_named(self, tmp_path, monkeypatch):
        # The superuser may read everything, so the refusal is made here.
        def refuse(path, mode):
            raise PermissionError(13, "Permission denied", path)

        path = tmp_path / "text.txt"
        path.write_text("a")
        monkeypatch.setattr("fastcell.data.files.open", refuse, raising=False)
        with pytest.raises(PermissionError, match=r"Permission denied.*text\.txt"):
            read_text(path)

    def test_demo_text_is_the_one_that_papers_use(self):
        text = demo_text()
        assert len(text) == 1_115_394
        assert len(set(text)) == 65
        assert text.startswith("First Citizen:\nBefore we proceed")
        assert text.endswith("Whiles thou art waking.\n")
        train, valid = split_text(text)
        assert (len(train), len(valid)) == (1_003_854, 111_540)


class TestSplitText:
    @pytest.mark.parametrize(
        "size, fractions",
        [(10, (0.9, 0.1)), (11, (0.5, 0.5)), (100, (0.7, 0.2, 0.1)), (3, (1.0,))],
    )
    def test_parts_cover_the_text_in_order(self, size, fractions):
        text = "".join(chr(100 + i) for i in range(size))
        parts = split_text(text, fractions)
        assert len(parts) == len(fractions)
        assert "".join(parts) == text
        for part, fraction in zip(parts, fractions, strict=True):
            assert abs(len(part) - size * fraction) < 1

    def test_cut_that_is_rounded_down_is_met(self):
        # 0.7 + 0.1 + ... in floating point lies just below the tenths that are meant.
        for fractions in ((0.7, 0.1, 0.2), (0.7, 0.2, 0.1), (0.1,) * 10):
            sizes = [len(part) for part in split_text("x" * 1000, fractions)]
            assert sizes == [round(1000 * fraction) for fraction in fractions]

    def test_parts_of_arrays_are_views(self):
        ids = np.arange(20)
        train, valid = split_text(ids)
        assert np.shares_memory(train, ids)
        np.testing.assert_array_equal(valid, [18, 19])

    @pytest.mark.parametrize(
        "fractions, error, message",
        [
            ((0.5, 0.4), ValueError, "sum 1; got 0.9"),
            ((), ValueError, "sum 1; got 0"),
            ((1.0, 0.0), ValueError, r"fractions\[1\].*> 0; got 0"),
            ((1.5, -0.5), ValueError, r"fractions\[1\].*-0.5"),
            ((np.nan, 1.0), ValueError, r"fractions\[0\].*nan"),
            (("0.9", "0.1"), TypeError, r"fractions\[0\].*'0.9'"),
        ],
    )
    def test_bad_fractions_are_named(self, fractions, error, message):
        with pytest.raises(error, match=message):
            split_text("abcdefghij", fractions)

    @pytest.mark.parametrize("text", ["", "a", "abcde"])
    def test_text_too_short_for_its_parts(self, text):
        with pytest.raises(ValueError, match=f"got {len(text)} characters"):
            split_text(text, (0.1, 0.9))


SIZES = [(2, 1, 1), (11, 2, 3), (12, 2, 3), (100, 7, 5), (100, 7, 14), (100, 3, 200)]


class TestTextStreams:
    @pytest.mark.parametrize("size, batch_size, seq_len", SIZES)
    def test_rows_go_on_where_they_ended(self, size, batch_size, seq_len):
        tokens = np.random.default_rng(0).integers(1000, size=size)
        streams = TextStreams(tokens, batch_size, seq_len)
        num_steps = (size - 1) // batch_size
        windows = list(streams)
        assert len(windows) == len(streams) == -(-num_steps // seq_len)
        inputs = np.concatenate([window[0] for window in windows])
        targets = np.concatenate([window[1] for window in windows])
        assert inputs.shape == targets.shape == (num_steps, batch_size)
        for row in range(batch_size):
            start = row * num_steps
            np.testing.assert_array_equal(
                inputs[:, row], tokens[start : start + num_steps]
            )
            np.testing.assert_array_equal(
                targets[:, row], tokens[start + 1 : start + num_steps + 1]
            )

    @pytest.mark.parametrize("size, batch_size, seq_len", SIZES)
    def test_only_the_last_window_is_shorter(self, size, batch_size, seq_len):
        streams = TextStreams(np.arange(size), batch_size, seq_len)
        for inputs, targets in streams:
            assert inputs.dtype == targets.dtype == np.int32
            assert inputs.flags.c_contiguous
            assert targets.flags.c_contiguous
            assert inputs.shape == targets.shape
        *most, last = [len(inputs) for inputs, _ in streams]
        assert all(length == seq_len for length in most)
        assert 1 <= last <= seq_len
        assert sum(most) + last == streams.num_steps

    @pytest.mark.parametrize("position", range(6))
    def test_rest_of_an_epoch_from_a_saved_position(self, position):
        streams = TextStreams(np.arange(100), 7, 3)
        assert len(streams) == 5
        taken = list(streams)[:position]
        again = TextStreams(np.arange(100), 7, 3)
        resumed = taken + again[position:]
        assert len(resumed) == 5
        for (inputs, targets), expected in zip(resumed, streams, strict=True):
            np.testing.assert_array_equal(inputs, expected[0])
            np.testing.assert_array_equal(targets, expected[1])

    def test_windows_by_index(self):
        streams = TextStreams(np.arange(100), 7, 3)
        np.testing.assert_array_equal(streams[-1][0], streams[4][0])
        np.testing.assert_array_equal(streams[np.int64(2)][0], streams[2][0])
        for index in (5, -6):
            with pytest.raises(IndexError, match=f"0 to 4.*got {index}"):
                streams[index]
        for index in (1.0, "0", None):
            with pytest.raises(TypeError, match="index must be an integer"):
                streams[index]

    def test_tokens_are_copied_and_windows_read_only(self):
        tokens = np.arange(20, dtype=np.int32)
        streams = TextStreams(tokens, 1, 5)
        tokens[:] = 0
        inputs, _ = streams[0]
        np.testing.assert_array_equal(inputs[:, 0], range(5))
        with pytest.raises(ValueError, match="read-only"):
            inputs[0, 0] = 1

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
    def test_tokens_of_any_integer_dtype(self, dtype):
        inputs, _ = TextStreams(np.arange(20, dtype=dtype), 2, 4)[0]
        np.testing.assert_array_equal(inputs, [[0, 9], [1, 10], [2, 11], [3, 12]])

    @pytest.mark.parametrize("size, batch_size", [(0, 1), (1, 1), (3, 3), (31, 32)])
    def test_text_too_short(self, size, batch_size):
        with pytest.raises(
            ValueError, match=rf"batch_size \+ 1 = {batch_size + 1}; got {size}$"
        ):
            TextStreams(np.zeros(size, int), batch_size, 4)

    @pytest.mark.parametrize(
        "arguments, error, message",
        [
            ((np.zeros((4, 4), int), 1, 1), ValueError, r"one dimension.*\(4, 4\)"),
            ((np.zeros(9), 1, 1), TypeError, "tokens must be integers.*float64"),
            ((np.array([0, -1, 2]), 1, 1), ValueError, r"got -1 at \(1,\)"),
            ((np.array([0, 2**31]), 1, 1), ValueError, r"got 2147483648 at \(1,\)"),
            (("text", 1, 1), ValueError, "one dimension"),
            ((np.arange(9), 0, 1), ValueError, "batch_size.*>= 1; got 0"),
            ((np.arange(9), 1, 0), ValueError, "seq_len.*>= 1; got 0"),
            ((np.arange(9), 1.0, 1), TypeError, "batch_size.*1.0"),
            ((np.arange(9), 1, True), TypeError, "seq_len.*True"),
        ],
    )
    def test_bad_argument_is_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            TextStreams(*arguments)
