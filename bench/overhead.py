"""The share of training time outside the kernels and BLAS, by a profiler.

    python bench/overhead.py                    all models
    python bench/overhead.py language digits    some of them
    python bench/overhead.py --where 8          and the functions outside that cost most

The profiler is perf of the Linux tools; it samples the process by CPU time while a
model trains, so that the result does not depend on other load. A sample is inside if
its function belongs to fastcell's C core, or its library is a BLAS. All else is
outside: Python, NumPy, the Cython wrappers, copying and clearing of memory by the C
library (also for the core), and the operating system: page faults, and on a busy
machine process switches. The shares of the last two are shown separately. Python slows
down most if others use the caches: use the lowest of several runs.

Batches are random numbers with the sizes of the named data sets.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import fastcell
from fastcell.data import SequencePairs, Sequences, TextStreams, Utterances
from fastcell.models import (
    Captioner,
    LanguageModel,
    Seq2Seq,
    SequenceClassifier,
    SequenceTagger,
    SpeechRecognizer,
)
from fastcell.optim import Adam, AdamW, cosine
from fastcell.train import Trainer

HERTZ = 997  # a prime, so that no loop is in phase with it
SAMPLE = re.compile(
    r"\s*[0-9a-f]+ (?P<symbol>.*?) \((?P<library>[^()]*(?:\([^()]*\))?)\)\s*$"
)
# Functions of Cython and CPython's headers in the core's library.
WRAPPER = re.compile(r"_*(pyx|Pyx|Py[A-Z_])|.*__pyx_|\[unknown\]")


# --------------------------------------------------------------------- the models


def language() -> tuple[Trainer, Any]:
    """The model of `fastcell demo`: an LSTM of 256 units over 65 characters."""
    random = np.random.default_rng(0)
    data = TextStreams(random.integers(0, 65, 400_000), 32, 64)
    model = LanguageModel(65, 64, 256, seed=0)
    optimizer = Adam(model.params, lr=1e-4)
    return Trainer(model, optimizer, clip_norm=1.0, progress=False), data


def sentiment() -> tuple[Trainer, Any]:
    """examples/sentiment.py: two LSTMs of 100 units over sentences of 2 to 52 words."""
    random = np.random.default_rng(0)
    sentences = _sentences(random, 6920, 19.3, 9.3, (2, 52), 7142)
    data = Sequences(sentences, random.integers(0, 2, 6920), 32, seed=0)
    model = SequenceClassifier(
        7142,
        100,
        2,
        bidirectional=True,
        pooling="max",
        dropout=0.5,
        embedding_dim=100,
        seed=0,
    )
    return _trainer(model, data, 5.0), data


def speaker() -> tuple[Trainer, Any]:
    """examples/speaker.py: two LSTMs of 64 units over 7 to 26 frames."""
    random = np.random.default_rng(0)
    lengths = random.integers(7, 27, 270)
    frames = [random.standard_normal((n, 12)).astype(np.float32) for n in lengths]
    data = Sequences(frames, random.integers(0, 9, 270), 16, seed=0)
    model = SequenceClassifier(12, 64, 9, bidirectional=True, pooling="mean", seed=0)
    return _trainer(model, data, 5.0), data


def speech() -> tuple[Trainer, Any]:
    """examples/speech.py --data yesno: CTC, an LSTM of 20 units, two recordings."""
    random = np.random.default_rng(0)
    lengths = random.integers(180, 240, 31)
    frames = [random.standard_normal((n, 60)).astype(np.float32) for n in lengths]
    labels = random.integers(1, 3, (31, 8)).tolist()
    data = Utterances(frames, labels, 2)
    model = SpeechRecognizer(60, 20, seed=0, vocabulary=["no", "yes"])
    optimizer = AdamW(model.params, lr=1e-4, weight_decay=0.3)
    return _trainer(model, data, 1.0, optimizer), data


def digits() -> tuple[Trainer, Any]:
    """examples/digits.py: an LSTM of 128 units over 28 rows of 28 pixels."""
    random = np.random.default_rng(0)
    pictures = random.random((6400, 28, 28), np.float32)
    data = Sequences(pictures, random.integers(0, 10, 6400), 64, seed=0)
    model = SequenceClassifier(28, 128, 10, classes=range(10), seed=0)
    return _trainer(model, data, 1.0), data


def chorales() -> tuple[Trainer, Any]:
    """A small model: an LSTM of 36 units over some 60 frames of 88 keys, 8 pieces."""
    random = np.random.default_rng(0)
    lengths = random.integers(30, 100, 229)
    frames = [(random.random((n, 88)) < 0.05).astype(np.float32) for n in lengths]
    keys = [random.integers(0, 88, n) for n in lengths]
    data = Sequences(frames, keys, 8, seed=0)
    model = SequenceTagger(88, 36, 88, seed=0)
    return _trainer(model, data, 1.0), data


def translation() -> tuple[Trainer, Any]:
    """examples/translation.py: GRUs of 256 units with attention, 7,000 words a side."""
    random = np.random.default_rng(0)
    sides = [_sentences(random, 2560, 12.4, 4.2, (5, 35), 7000) for _ in range(2)]
    data = SequencePairs(sides[0], [_marked(words) for words in sides[1]], 64, seed=0)
    model = Seq2Seq(7000, 7000, 256, 256, cell="gru", dropout=0.3, bos=2, eos=3, seed=0)
    return _trainer(model, data, 1.0), data


def captions() -> tuple[Trainer, Any]:
    """examples/captions.py: an LSTM of 256 units from 1,280 features, 1,500 words."""
    random = np.random.default_rng(0)
    said = [_marked(w) for w in _sentences(random, 2560, 11, 3.6, (4, 30), 1500)]
    pictures = random.random((2560, 1280), np.float32)
    data = Sequences(said, pictures, 64, seed=0)
    model = Captioner(1280, 1500, 256, 256, dropout=0.5, bos=2, eos=3, seed=0)
    return _trainer(model, data, 5.0), data


def tiny() -> tuple[Trainer, Any]:
    """A model of almost only overhead: an RNN of 2 units over 3 steps."""
    random = np.random.default_rng(0)
    data = Sequences(
        random.random((8, 3, 2), np.float32), random.integers(0, 2, 8), 4, seed=0
    )
    model = SequenceClassifier(2, 2, 2, cell="rnn", seed=0)
    return _trainer(model, data, 1.0), data


MODELS: dict[str, Callable[[], tuple[Trainer, Any]]] = {
    f.__name__: f
    for f in (
        *(language, sentiment, speaker, speech, digits, chorales),
        *(translation, captions, tiny),
    )
}


def _sentences(
    random: np.random.Generator,
    count: int,
    mean: float,
    spread: float,
    bounds: tuple[int, int],
    words: int,
) -> list[np.ndarray]:
    """Return sentences of random words with the frequencies of Zipf's law."""
    lengths = random.normal(mean, spread, count).round().astype(int).clip(*bounds)
    ids = np.minimum(random.zipf(1.3, lengths.sum()) + 3, words - 1)
    return np.split(ids, np.cumsum(lengths)[:-1])


def _marked(words: np.ndarray) -> np.ndarray:
    """Return a sentence between the marks of its beginning and its end."""
    return np.array([2, *words, 3])


def _trainer(model: Any, data: Any, clip_norm: float, optimizer: Any = None) -> Trainer:
    # A small rate, since random targets cannot be learned.
    optimizer = optimizer or Adam(model.params, lr=1e-4)
    schedule = cosine(10**6)
    return Trainer(model, optimizer, clip_norm, schedule=schedule, progress=False)


# ------------------------------------------------------------------- the profiler


def profile(name: str, seconds: float) -> tuple[Counter[tuple[str, str]], float]:
    """Train a model under perf.

    Returns
    -------
    samples : Counter
        By (library, function).
    step : float
        Seconds of wall time per step.

    Raises
    ------
    RuntimeError
        If perf cannot sample this process.
    """
    trainer, data = MODELS[name]()
    trainer.fit(data, steps=20)
    started = time.perf_counter()
    trainer.fit(data, steps=20)
    steps = max(20, int(seconds * 20 / (time.perf_counter() - started)))
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "perf.data")
        with _recording(file):
            started = time.perf_counter()
            trainer.fit(data, steps=steps)
            step = (time.perf_counter() - started) / steps
        script = subprocess.run(
            ["perf", "script", "-i", file, "-F", "ip,sym,dso"],
            capture_output=True,
            text=True,
            check=False,
        )
    samples = parse(script.stdout.splitlines())
    if not samples:
        raise RuntimeError(f"perf took no sample: {script.stderr.strip()}")
    return samples, step


class _recording:
    """Let perf sample this process, as a context."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __enter__(self) -> None:
        if shutil.which("perf") is None:
            raise RuntimeError("perf is not installed (Debian: linux-perf)")
        self.process = subprocess.Popen(
            [
                *("perf", "record", "-q", "-e", "cpu-clock", "-F", str(HERTZ)),
                *("-p", str(os.getpid()), "-o", self.file),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.5)  # until perf runs; sleep takes no CPU time, so no samples
        if self.process.poll() is not None:
            raise RuntimeError(f"perf: {self.process.stderr.read().strip()}")

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()


def parse(lines: Iterable[str]) -> Counter[tuple[str, str]]:
    """Return how many samples a function has, by (library, function).

    Examples
    --------
    >>> parse([" 7fd30 adam (/x/fastcell/_core.so)", "", " 7f [unknown] (/x/y.so)"])
    Counter({('_core.so', 'adam'): 1, ('y.so', '[unknown]'): 1})
    """
    found: Counter[tuple[str, str]] = Counter()
    for line in lines:
        if match := SAMPLE.match(line):
            found[os.path.basename(match["library"]), match["symbol"].strip()] += 1
    return found


def is_inside(library: str, symbol: str) -> bool:
    """Return whether a function is a kernel or of a BLAS.

    Examples
    --------
    >>> is_inside("_core.so", "adam"), is_inside("_core.so", "__pyx_pw_adam")
    (True, False)
    """
    if "blas" in library:
        return True
    return library.startswith("_core.") and not WRAPPER.match(symbol)


def outside(samples: Counter[tuple[str, str]]) -> float:
    """Return the share of the samples that are neither in a kernel nor in a BLAS."""
    return share(samples, lambda *key: not is_inside(*key))


def share(
    samples: Counter[tuple[str, str]], counts: Callable[[str, str], bool]
) -> float:
    """Return the share of the samples whose (library, function) counts."""
    return sum(n for key, n in samples.items() if counts(*key)) / samples.total()


def rows(names: Iterable[str], seconds: float, where: int) -> Iterator[str]:
    """Profile models in turn, and yield the lines of the table."""
    yield (
        f"{'model':<10} {'ms a step':>9} {'outside':>8} {'of it libc':>10} "
        f"{'system':>7}  samples"
    )
    for name in names:
        samples, step = profile(name, seconds)
        libc = share(samples, lambda library, _: library.startswith("libc."))
        system = share(samples, lambda library, _: library.startswith("["))
        yield (
            f"{name:<10} {step * 1e3:9.3f} {outside(samples):8.1%} {libc:10.1%} "
            f"{system:7.1%}  {samples.total()}"
        )
        worst = Counter({k: n for k, n in samples.items() if not is_inside(*k)})
        for (library, symbol), n in worst.most_common(where):
            yield f"    {n / samples.total():6.1%}  {symbol} ({library})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="*", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--where", type=int, default=0, metavar="N")
    args = parser.parse_args()
    if unknown := set(args.model) - set(MODELS):
        parser.error(f"model must be of {', '.join(MODELS)}; got {sorted(unknown)[0]}")
    fastcell.set_num_threads(args.threads)
    chosen = args.model or [name for name in MODELS if name != "tiny"]
    try:
        for line in rows(chosen, args.seconds, args.where):
            print(line, flush=True)
    except RuntimeError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
