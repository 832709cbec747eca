"""``fastcell demo`` and ``fastcell train``: a run of training, from text to model.

A run is described by its `Settings`. Its checkpoints hold them, so a resumed run has
the original settings even if defaults have changed.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastcell.cli.settings import Settings

if TYPE_CHECKING:
    from fastcell.cli.corpus import Corpus
    from fastcell.models import LanguageModel
    from fastcell.optim import Adam

_WARMUP = 0.02  # share of the steps in which the learning rate rises
_FINAL_FACTOR = 0.05  # of the learning rate, at the end of the cosine
_DEMO_VALIDATIONS = 5  # at equal distances
_SAMPLE_LENGTH = 500
_BYTES_EACH = 16  # of a parameter: itself, its gradient, and two moments of Adam
_MOST = 2**31 - 1  # of any size, of steps and of epochs
_SAMPLE_TEMPERATURE = 0.8


# Settings that may differ when a run is resumed. The content of the text is compared,
# not its name, and the trainer warns of another number of threads.
_FREE = {"text", "threads", "out"}


def demo(given: dict[str, Any]) -> int:
    """Train on the packaged text for a given time; return the exit code."""
    from fastcell.cli.corpus import read_corpus

    quiet = given.pop("quiet", False)
    seconds = given.pop("seconds", 60.0)
    force = given.pop("force", False)
    settings = Settings(**given)
    checkpoint = f"{settings.out}.checkpoint"
    _check_outputs(settings, checkpoint, force)
    # A demo may overwrite another one's checkpoint: it costs about a minute.
    if os.path.exists(checkpoint) and _info(checkpoint)[0]["text"] is not None:
        _refuse(checkpoint)
    corpus = read_corpus(settings, None if quiet else _say)
    settings = corpus.settings
    steps = settings.steps
    if steps is None:
        if not quiet:
            _say("timing a few steps ...")
        steps = steps_in(seconds, corpus, _DEMO_VALIDATIONS)
    # The timing only determines the number of steps: --steps repeats the run.
    every = math.ceil(steps / _DEMO_VALIDATIONS)
    corpus.settings = replace(settings, steps=steps, validate_every=every)
    return _run(corpus, checkpoint, quiet=quiet)


def train(given: dict[str, Any]) -> int:
    """Train on a user's text, from the start or from a checkpoint."""
    from fastcell.cli.corpus import read_corpus

    quiet = given.pop("quiet", False)
    force = given.pop("force", False)
    checkpoint_seconds = given.pop("checkpoint_seconds", 60.0)
    resume = given.pop("resume", None)
    checkpoint = resume or f"{given.get('out', Settings.out)}.checkpoint"
    size = None
    if resume is not None:
        settings, size, out = _settings_of(checkpoint, given)
        # An existing file may be the model that the run was started to replace.
        force = force or os.path.realpath(settings.out) == os.path.realpath(out)
    elif "text" not in given:
        raise ValueError("FILE is missing: the text to train on")
    elif os.path.exists(checkpoint):
        _refuse(checkpoint)
    else:
        if "steps" not in given:
            given.setdefault("epochs", 10)
        settings = Settings(**given)
        if settings.tie_weights and "embedding_size" not in given:
            settings = replace(settings, embedding_size=settings.hidden_size)
    _check_outputs(settings, checkpoint, force)
    return _run(
        read_corpus(settings, None if quiet else _say),
        checkpoint,
        quiet=quiet,
        checkpoint_seconds=checkpoint_seconds,
        resumed_size=size,
    )


def _refuse(checkpoint: str) -> NoReturn:
    raise ValueError(
        f"{checkpoint}: holds an interrupted run: continue it with --resume, or remove "
        "the file to start anew"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _info(checkpoint: str) -> tuple[dict[str, Any], int]:
    """Return the settings that a checkpoint holds, and the number of its parameters.

    Raises
    ------
    ValueError
        If it is not of these commands, or damaged: all entries in use are checked
        here, before a model is built.
    """
    from fastcell._checks import schema as be
    from fastcell.train.checkpoint import read_checkpoint
    from fastcell.train.run_state import check_run

    tree = read_checkpoint(checkpoint)
    info, one = tree.get("info"), be.whole(1, _MOST)
    if not isinstance(info, dict) or set(info) != {f.name for f in fields(Settings)}:
        raise ValueError(
            f"{checkpoint}: must be a checkpoint of fastcell train; got another's"
        )
    schema = {
        "text": be.optional(be.text),
        "sha256": be.text,
        "cell": be.text,
        "layer_option": be.dictionary,
        "layers": one,
        "hidden_size": one,
        "embedding_size": one,
        "dropout": be.number(0, below=1),
        "tie_weights": be.boolean,
        "precision": be.one_of("float32", "bf16"),
        "sequence_length": one,
        "batch_size": one,
        "epochs": be.optional(one),
        # A run without a number of epochs has a number of steps.
        "steps": one if info["epochs"] is None else be.optional(one),
        "learning_rate": be.number(above=0),
        "clip": be.number(above=0),
        "validation_fraction": be.number(0, below=1),
        "validate_every": be.optional(one),
        "seed": be.whole(),
        "threads": be.optional(one),
        "out": be.text,
    }
    try:
        check_run(tree)
        be.entries(schema)("info", info)
        # The model is built from these settings before it is compared with the file.
        names = {
            "cell": "cell",
            "layer_option": "layer_options",
            "layers": "num_layers",
            "hidden_size": "hidden_size",
            "embedding_size": "embedding_dim",
            "dropout": "dropout",
            "tie_weights": "tie_weights",
            "seed": "seed",
        }
        be.one_of("LanguageModel")("model.class", tree["model"]["class"])
        config = {"layer_options": {}, **tree["model"]["config"]}
        for mine, its in names.items():
            be.one_of(config.get(its))(f"info.{mine}", info[mine])
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {be.shortened(error)}") from None
    size = sum(array.size for array in tree["model"]["params"].values())
    return info, size


def _settings_of(checkpoint: str, given: dict[str, Any]) -> tuple[Settings, int, str]:
    """Return the settings of the run in `checkpoint`, which `given` must not change,
    its number of parameters, and the original path of its model.
    """
    info, size = _info(checkpoint)
    for name, value in given.items():
        if name not in _FREE and value != info[name]:
            raise ValueError(
                f"--{name.replace('_', '-')} cannot change when a run is resumed: "
                f"it is {info[name]} in {checkpoint}; got {value}"
            )
    free = {name: given[name] for name in _FREE & set(given)}
    return Settings(**info | free), size, info["out"]


# ------------------------------------------------------------------------- the files


def _check_outputs(settings: Settings, checkpoint: str, force: bool) -> None:
    """Refuse to write over the text, and, unless `force`, over a model.

    Raises
    ------
    ValueError
        If a file would be overwritten.
    """
    from fastcell._checks.files import check_apart, remove_leftovers

    inputs = () if settings.text is None else (settings.text,)
    check_apart(settings.out, *inputs, checkpoint)
    _check_writable(settings.out)
    if os.path.exists(settings.out) and not force:
        raise ValueError(
            f"{settings.out}: exists; --force replaces it, --out names another"
        )
    remove_leftovers(settings.out)


def _check_writable(path: str) -> None:
    """Raise before the training if the result cannot be written."""
    import tempfile

    from fastcell._checks.files import check_regular, named_errors

    with named_errors(path):
        with contextlib.suppress(FileNotFoundError):
            check_regular(path, os.stat(path).st_mode)
        folder = os.path.dirname(os.path.realpath(path))
        with tempfile.TemporaryFile(dir=folder):
            pass


# --------------------------------------------------------------------------- the run


def model_of(corpus: Corpus) -> tuple[LanguageModel, Adam]:
    """Return the model of the settings, with random weights, and its optimizer."""
    from fastcell.models import LanguageModel
    from fastcell.optim import Adam

    settings = corpus.settings
    model = LanguageModel(
        len(corpus.vocabulary),
        settings.embedding_size,
        settings.hidden_size,
        settings.layers,
        settings.cell,
        settings.dropout,
        settings.tie_weights,
        seed=settings.seed,
        vocabulary=corpus.vocabulary,
        layer_options=settings.layer_option,
    ).to(settings.precision)
    return model, Adam(model.params, lr=settings.learning_rate)


def _model_that_fits(
    corpus: Corpus, checkpoint: str, resumed_size: int | None
) -> tuple[LanguageModel, Adam]:
    """Return the result of `model_of`, with a limit of its size.

    The limit is the machine's memory, or the size of the model in a resumed run.

    Raises
    ------
    MemoryError, ValueError
        If it is larger, before any memory is allocated.
    """
    from fastcell.module import at_most

    if resumed_size is not None:
        # The file holds a tied array once, but two layers allocate it.
        try:
            with at_most(2 * resumed_size):
                return model_of(corpus)
        except ValueError as error:
            raise ValueError(f"{checkpoint}: {error}") from None
    memory = _memory()
    try:
        with at_most(memory // _BYTES_EACH):
            return model_of(corpus)
    except ValueError as error:
        if not str(error).startswith("sizes ask for"):
            raise
        reason = str(error).partition(";")[0]
        raise MemoryError(
            f"{reason}, of {_BYTES_EACH} bytes each in training; this machine has "
            f"{memory / 1e9:.0f} GB"
        ) from None


def _memory() -> int:
    """Return the bytes of memory of this machine, or a limit if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 1 << 62


def schedule_of(steps: int) -> Callable[[int], float]:
    """Return the learning rates of a run: a warm-up, then a cosine."""
    from fastcell.optim import cosine, warmup

    rising = max(round(_WARMUP * steps), 1)
    return warmup(rising, cosine(max(steps - rising, 1), _FINAL_FACTOR))


def steps_in(seconds: float, corpus: Corpus, validations: int) -> int:
    """Return the number of steps that fit into some time, with some validations.

    A few steps of a separate model are timed, for a fortieth of that time. Their median
    counts, because the first ones are slow and others may be disturbed.
    """
    from fastcell.train import Trainer

    began = time.perf_counter()
    model, optimizer = model_of(corpus)
    trainer = Trainer(model, optimizer, clip_norm=corpus.settings.clip, progress=False)
    times: list[float] = []
    while len(times) < 6 or time.perf_counter() < began + seconds / 40:
        start = time.perf_counter()
        trainer.fit(corpus.train[:1], steps=1)
        times.append(time.perf_counter() - start)
    step = float(np.median(times[1:]))
    left = seconds - (time.perf_counter() - began)
    if corpus.valid is not None:
        few = corpus.valid[:4]
        start = time.perf_counter()
        trainer.evaluate(few)
        each = (time.perf_counter() - start) / len(few)
        left -= validations * len(corpus.valid) * each
    return max(int(left / step), 1)


def _run(
    corpus: Corpus,
    checkpoint: str,
    *,
    quiet: bool,
    checkpoint_seconds: float = 60.0,
    resumed_size: int | None = None,
) -> int:
    """Train, save the model, print the figures and a sample.

    `resumed_size` is the number of parameters in the file of a resumed run.
    """
    import fastcell
    from fastcell.train import Trainer

    settings = corpus.settings
    model, optimizer = _model_that_fits(corpus, checkpoint, resumed_size)
    # Either steps or epochs are given.
    steps = settings.steps or (settings.epochs or 0) * len(corpus.train)
    schedule = schedule_of(steps)
    trainer = Trainer(model, optimizer, settings.clip, schedule, progress=not quiet)
    if resumed_size is not None:
        trainer.resume(checkpoint)
    # An absolute path, so that the run can be resumed in another folder.
    text = None if settings.text is None else os.path.abspath(settings.text)
    trainer.info = asdict(settings) | {
        "text": text,
        "out": os.path.abspath(settings.out),
    }
    if corpus.warning:
        _say(f"fastcell: warning: {corpus.warning}")
    if not quiet:
        _say(_headline(corpus, model, steps, trainer.step))
    history = trainer.fit(
        corpus.train,
        corpus.valid,
        steps=steps,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        validate_every=settings.validate_every,
    )
    fastcell.save(model, settings.out)
    os.unlink(checkpoint)

    last = history[-1]
    print(f"train  {last['train_bpc']:.3f} bits per character")
    if corpus.valid is not None:
        print(f"valid  {last['valid_bpc']:.3f} bits per character")
    speed = np.median(history.column("tokens_per_second"))
    seconds = f"{last['seconds']:.0f} s"
    print(f"speed  {speed:,.0f} {model.unit}/s, {steps:,} steps in {seconds}")
    print(f"model  {settings.out}\n")
    prompt = default_prompt(corpus.vocabulary.symbols)
    print(
        model.generate(prompt, _SAMPLE_LENGTH, _SAMPLE_TEMPERATURE, seed=settings.seed)
    )
    return 0


def default_prompt(symbols: Sequence[str]) -> str:
    """Return a prompt to start a text: a line's end, or else the first symbol.

    Examples
    --------
    >>> default_prompt(("a", "b"))
    'a'
    """
    return "\n" if "\n" in symbols else symbols[0]


def _headline(corpus: Corpus, model: LanguageModel, steps: int, steps_done: int) -> str:
    """Return a description of the run in two lines."""
    settings = corpus.settings
    size = sum(array.size for array in model.params.arrays().values())
    layers = "layer" if settings.layers == 1 else "layers"
    streams = [corpus.train] + ([corpus.valid] if corpus.valid else [])
    characters = " + ".join(f"{s.num_steps * s.batch_size:,}" for s in streams)
    after = f" after the first {steps_done:,}" if steps_done else ""
    return (
        f"{settings.cell.upper()}, {settings.layers} {layers} of "
        f"{settings.hidden_size} units, {size:,} parameters; "
        f"{len(corpus.vocabulary)} symbols, {characters} characters\n"
        f"{steps:,} steps{after} of {settings.batch_size} x "
        f"{settings.sequence_length} characters, {settings.threads} threads"
    )
