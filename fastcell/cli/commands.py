"""The command line: ``fastcell demo``, ``train``, ``sample``, ``bench`` and others.

Results go to stdout, progress and errors to stderr. An error of the user ends with one
line, ``fastcell: error: ...``, and exit code 2; an interrupted run ends with 128 plus
the number of the signal, as in shells.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastcell._checks.schema import MOST, shortened
from fastcell.cli.arguments import integer_value as _integer
from fastcell.cli.arguments import list_value as _list
from fastcell.cli.arguments import number_value as _number
from fastcell.cli.arguments import one_of as _one_of
from fastcell.cli.arguments import option_value as _option
from fastcell.cli.arguments import path_value as _path
from fastcell.cli.arguments import picture_value as _picture
from fastcell.cli.arguments import shape_value as _shape

PROGRAM = "fastcell"
_LONGEST = 600  # characters of an error
_MOST_SECONDS = 1e9  # thirty years


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default, those of the process.

    Returns
    -------
    int
        0, or 2 after an error of the user.

    Examples
    --------
    >>> main(["sample", "nowhere.safetensors"])  # says so on stderr
    2
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A sample may hold characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="replace")
    try:
        arguments = vars(_parser().parse_args(argv))
        command = arguments.pop("command")
        code: int = command(arguments)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        return code
    except SystemExit as exit_:  # argparse: help, version or a usage error
        return int(exit_.code or 0)
    except BrokenPipeError:
        # The pipe is closed, as in `fastcell sample ... | head`. The interpreter must
        # find nothing to flush when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt as error:
        return _interrupted(error)
    except (
        *(OSError, ValueError, TypeError, FloatingPointError, MemoryError),
        *(OverflowError, RecursionError),
    ) as error:
        _error(_message(error))
        return 2


def _error(message: str) -> None:
    line = shortened(" ".join(message.split()), _LONGEST)
    line = line.encode("utf-8", "backslashreplace").decode()  # names of any bytes
    with contextlib.suppress(OSError):  # stderr is closed: only the exit code is left
        print(f"{PROGRAM}: error: {line}", file=sys.stderr)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return str(error)


def _interrupted(error: KeyboardInterrupt) -> int:
    from fastcell.train import TrainingInterrupted

    if not isinstance(error, TrainingInterrupted) or error.checkpoint is None:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return 128 + 2
    print(
        f"{PROGRAM}: interrupted after step {error.step}, "
        f"saved to {error.checkpoint}\n"
        f"continue with: {PROGRAM} train --resume {_quoted(error.checkpoint)}",
        file=sys.stderr,
    )
    return 128 + error.signum


def _quoted(path: str | None) -> str:
    import shlex

    return shlex.quote(path or "")


# ------------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        _error(f"{message} (see {self.prog} --help)")
        raise SystemExit(2)


def _parser() -> argparse.ArgumentParser:
    import fastcell
    from fastcell.cli.export import add_convert, add_export_c

    parser = _Parser(
        prog=PROGRAM,
        description="Recurrent networks on CPUs: train one on text, and let it write.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {fastcell.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, function: Callable[..., int], text: str) -> _Parser:
        sub = commands.add_parser(
            name,
            help=text[0].lower() + text[1:].partition(".")[0],
            description=text,
            allow_abbrev=False,
            # Omitted options are absent: a resumed run needs to know which were given.
            argument_default=argparse.SUPPRESS,
        )
        sub.set_defaults(command=function)
        return sub

    _add_demo(command("demo", _demo, "Train on tiny Shakespeare for about a minute."))
    _add_train(
        command(
            "train",
            _train,
            "Train a character model on a text. Ctrl-C saves a checkpoint beside the "
            "model; --resume continues it, with the same result as without the break.",
        )
    )
    _add_sample(command("sample", _sample, "Let a trained model write."))
    _add_bench(
        command(
            "bench",
            _bench,
            "Measure fastcell on this machine, as a Markdown table: alone, against "
            "other libraries (outputs are compared, then all take turns), against an "
            "earlier run. Ctrl-C ends it, and what was measured until then stands.",
        )
    )
    _add_explain(
        command(
            "explain",
            _explain,
            "Show how a layer is computed, and why it takes so long. Decisions of the "
            "core, memory, FLOP, and the time: predicted from probes of this machine, "
            "and measured.",
        )
    )
    add_export_c(
        command(
            "export-c",
            _export_c,
            "Write a model's step as one C99 file, which needs no library. Prints the "
            "sizes of weights, state and code, and the multiply-adds of a step.",
        )
    )
    add_convert(
        command(
            "convert",
            _convert,
            "Save a model in the JSON form of RTNeural as one of fastcell.",
        )
    )
    command("info", _info, "Show CPU, instruction sets, BLAS, threads and versions.")
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=_number(above=0, maximum=_MOST_SECONDS),
        help="time to train for; a few steps are timed to choose their number "
        "(default: 60)",
    )
    length.add_argument("--steps", type=_integer(1), help="train this many steps")
    _add_common(parser)


def _add_train(parser: argparse.ArgumentParser) -> None:
    from fastcell.cells import offered

    parser.add_argument(
        "text", metavar="FILE", nargs="?", type=_path, help="a text in UTF-8"
    )
    model = parser.add_argument_group("model")
    model.add_argument("--cell", help=f"of {', '.join(offered())} (default: lstm)")
    model.add_argument(
        "--layer-option",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        help="an argument of the recurrent layers, such as init=orthogonal, "
        "forget_bias=1, zoneout=[0.1,0.05] or recurrent_dropout=0.2; repeated for "
        "several",
    )
    model.add_argument("--layers", type=_integer(1), help="(default: 1)")
    model.add_argument("--hidden-size", type=_integer(1), help="(default: 256)")
    model.add_argument("--embedding-size", type=_integer(1), help="(default: 64)")
    model.add_argument(
        "--dropout", type=_number(minimum=0, below=1), help="(default: 0)"
    )
    model.add_argument(
        "--tie-weights",
        action="store_true",
        help="use the embedding, of the hidden size, as the weight of the scores",
    )
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_integer(1), help="(default: 10)")
    length.add_argument("--steps", type=_integer(1), help="steps, instead of epochs")
    training.add_argument(
        "--sequence-length",
        type=_integer(1),
        help="characters of a window of truncated backpropagation (default: 64)",
    )
    training.add_argument("--batch-size", type=_integer(1), help="(default: 32)")
    training.add_argument(
        "--learning-rate",
        type=_number(above=0),
        help="the peak, after a warm-up; a cosine brings it down to a twentieth "
        "(default: 0.006)",
    )
    training.add_argument(
        "--clip", type=_number(above=0), help="largest gradient norm (default: 5)"
    )
    training.add_argument(
        "--validation-fraction",
        type=_number(minimum=0, below=1),
        help="share of the text, at its end, to validate on (default: 0.1)",
    )
    training.add_argument(
        "--validate-every",
        type=_integer(1),
        help="steps between validations (default: one epoch)",
    )
    training.add_argument(
        "--checkpoint-seconds",
        type=_number(minimum=0),
        help="longest time between checkpoints (default: 60)",
    )
    training.add_argument(
        "--resume",
        metavar="CHECKPOINT",
        nargs="?",
        const="",
        help="continue an interrupted run; FILE and the options are those it was "
        "started with (default: OUT.checkpoint)",
    )
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_integer(1), help="(default: all cores)")
    parser.add_argument("--seed", type=_integer(0, MOST), help="(default: 0)")
    parser.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        help="of the recurrent products (default: float32)",
    )
    parser.add_argument(
        "-o", "--out", type=_path, help="where to (default: model.safetensors)"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=_path)
    parser.add_argument(
        "--prompt", help="text to continue (default: the start of a line)"
    )
    parser.add_argument(
        "--length", type=_integer(0), help="characters to write (default: 500)"
    )
    parser.add_argument(
        "--temperature",
        type=_number(minimum=0),
        help="below 1 more careful, above 1 bolder, 0 always the likeliest character "
        "(default: 0.8)",
    )
    parser.add_argument(
        "--top-k", type=_integer(1), help="choose from the K likeliest only"
    )
    parser.add_argument(
        "--top-p",
        type=_number(above=0, maximum=1),
        help="choose from the likeliest that hold this probability only",
    )
    parser.add_argument("--seed", type=_integer(0, MOST), help="(default: at random)")
    parser.add_argument("--threads", type=_integer(1), help="(default: all cores)")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    from fastcell._judge.cells import default_cells
    from fastcell._judge.engines import PEERS
    from fastcell.cells import REGISTRY, offered
    from fastcell.cli.bench import MODES

    parser.add_argument(
        "--cells",
        type=_list(_one_of(offered(), REGISTRY)),
        help=f"of {', '.join(offered())} (default: {','.join(default_cells())})",
    )
    parser.add_argument(
        "--shapes",
        type=_list(_shape),
        help="TxBxH or TxBxIxH, such as 100x8x256,28x128x28x128; the mode step takes "
        "those with T = B = 1 (default: a grid)",
    )
    parser.add_argument(
        "--modes", type=_list(_one_of(MODES)), help=f"(default: {','.join(MODES)})"
    )
    parser.add_argument(
        "--threads",
        type=_list(_integer(1)),
        help="such as 1,2 (default: 1 and the number of cores)",
    )
    _add_precision(parser)
    parser.add_argument(
        "--seconds",
        type=_number(above=0, maximum=_MOST_SECONDS),
        help="for each figure and engine (default: 0.5)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few shapes, 0.1 s for each figure"
    )
    parser.add_argument(
        "--against",
        metavar="PEER,PEER",
        action="extend",
        type=_list(_one_of(PEERS)),
        help=f"time other libraries too: of {', '.join(PEERS)}",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=_path, help="write the figures there too"
    )
    parser.add_argument(
        "--compare",
        metavar="OLD",
        type=_path,
        help="show how many times as fast it is as in OLD, which --json has written",
    )
    parser.add_argument(
        "--fail-below",
        metavar="R",
        type=_number(above=0),
        help="exit with 1 if a ratio to a peer or to OLD is below R",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=_picture,
        help="draw the ratios: .svg, .png, .pdf",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace files that fastcell bench has not written, and OLD",
    )


def _add_explain(parser: argparse.ArgumentParser) -> None:
    from fastcell.cells import REGISTRY, offered

    parser.add_argument(
        "--cell",
        type=_one_of(offered(), REGISTRY),
        help=f"of {', '.join(offered())} (default: lstm)",
    )
    parser.add_argument(
        "--shape", type=_shape, required=True, help="TxBxH or TxBxIxH, as 100x32x256"
    )
    parser.add_argument("--layers", type=_integer(1), help="(default: 1)")
    parser.add_argument("--bidirectional", action="store_true", help="both directions")
    parser.add_argument("--threads", type=_integer(1), help="(default: all cores)")
    _add_precision(parser)
    parser.add_argument(
        "--train", action="store_true", help="forward and backward, not inference"
    )


def _add_precision(parser: argparse.ArgumentParser) -> None:
    from fastcell.cli.measure import PRECISIONS

    parser.add_argument(
        "--precision",
        type=_one_of(PRECISIONS),
        help="float32, bf16 or int8 (default: float32)",
    )


# -------------------------------------------------------------------------- commands


def _demo(given: dict[str, Any]) -> int:
    from fastcell.cli.training import demo

    return demo(given)


def _train(given: dict[str, Any]) -> int:
    from fastcell.cli.training import train

    if "layer_option" in given:
        given["layer_option"] = dict(given["layer_option"])
    return train(given)


def _sample(given: dict[str, Any]) -> int:
    import fastcell
    from fastcell.cli.training import default_prompt
    from fastcell.data import CharVocabulary, WordVocabulary
    from fastcell.models import LanguageModel

    if "threads" in given:
        fastcell.set_num_threads(given["threads"])
    model = fastcell.load(given["model"])
    if not isinstance(model, LanguageModel) or model.vocabulary is None:
        kind = type(model).__name__
        lacks = " without a vocabulary" if isinstance(model, LanguageModel) else ""
        raise ValueError(
            f"{given['model']}: must hold a language model of text; got a {kind}{lacks}"
        )
    if "prompt" in given:
        prompt = given["prompt"]
    elif isinstance(model.vocabulary, CharVocabulary):
        prompt = default_prompt(model.vocabulary.symbols)
    else:
        raise ValueError(
            f"--prompt must be given: {given['model']} knows no characters but "
            f"{model.vocabulary!r}"
        )
    text = model.generate(
        prompt,
        given.get("length", 500),
        temperature=given.get("temperature", 0.8),
        top_k=given.get("top_k"),
        top_p=given.get("top_p"),
        seed=given.get("seed"),
    )
    between = " " if isinstance(model.vocabulary, WordVocabulary) else ""
    print(f"{given.get('prompt', '')}{between}{text}")
    return 0


def _bench(given: dict[str, Any]) -> int:
    from fastcell.cli.bench import bench

    return bench(given)


def _explain(given: dict[str, Any]) -> int:
    from fastcell.cli.explain import explain

    return explain(given)


def _export_c(given: dict[str, Any]) -> int:
    from fastcell.cli.export import export_c

    return export_c(given)


def _convert(given: dict[str, Any]) -> int:
    from fastcell.cli.export import convert

    return convert(given)


def _info(given: dict[str, Any]) -> int:
    import platform

    import fastcell
    from fastcell._core import cpu_info

    cpu = cpu_info()
    forced = os.environ.get("FASTCELL_ISA")
    rows = {
        "fastcell": fastcell.__version__,
        "CPU": cpu["cpu"],
        "instruction sets": ", ".join(cpu["isas"]),
        "chosen": cpu["isa"] + (f" (FASTCELL_ISA={forced})" if forced else ""),
        "threads": f"{fastcell.get_num_threads()} of {os.cpu_count()} CPUs",
        "BLAS": _blas(),
        "compiler": cpu["compiler"],
        "platform": platform.platform(),
        "Python": platform.python_version(),
    }
    for package in ("numpy", "scipy", "tqdm", "safetensors"):
        rows[package] = _version(package)
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _blas() -> str:
    """Return the name of SciPy's BLAS, which computes the large products."""
    try:
        # Its stubs are a separate package, which may be missing.
        import scipy  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError:
        return "none, since scipy is not installed: fastcell's own products"
    try:
        blas = scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}, by scipy"
    except (KeyError, TypeError):  # SciPy without this entry
        return "scipy's, of unknown make"
