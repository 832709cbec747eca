"""Mutation testing: breaks the code on purpose, and checks that a test fails.

It is run by hand from the root of the repository, in an environment that can build it:

    python tests/project/mutations.py            all of them, about 15 seconds each
    python tests/project/mutations.py gate dR    those with a word in their description
    python tests/project/mutations.py --part 1/2 every second one; 2/2: the others
    python tests/project/mutations.py --list

Each mutation is applied to a copy of the tree in a temporary folder, which is built in
place. Then tests run until the first one fails, in this order: those that failed the
last time (mutations_noticed.json), the likeliest, those of the C core if the file is in
C, all other fast ones. A mutation without a failing test survives, and the exit code is
1. A mutation whose text is no longer in its file is reported as stale: rewrite it, do
not delete it. Those of fastcell.torch and fastcell.sklearn need PyTorch and
scikit-learn; if one is not installed, its mutations are reported as not run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mutations_of_core
import mutations_of_exports
import mutations_of_layers
import mutations_of_products
import mutations_of_programs
import mutations_of_regularizers
import mutations_of_torch

ROOT = Path(__file__).resolve().parents[2]
LIKELY = 4  # files of tests that are run before those of the C core, which take longer
CORE = "make"  # in place of a file of tests: those of the C core
NOTICED = ROOT / "tests/project/mutations_noticed.json"  # what -> the file of tests
TESTS = (
    "core/test_fuzz.py",  # notices most, in a second
    "core/test_cells_gradients.py",
    "core/test_cells_forward.py",
    "core/test_precision.py",
    "layers/test_embedding.py",
    "core/test_memory_budget.py",
    "core/test_segments.py",
    "layers/test_linear.py",
    "layers/test_dropout.py",
    "layers/test_sequential.py",
    "layers/test_sessions.py",
    "layers/test_parameters.py",
    "core/test_accuracy.py",
    "core/test_bits.py",
    "core/test_promises.py",
    "core/test_threads.py",
    "layers/test_layers_arguments.py",
    "losses/test_ctc_loss.py",
    "models/test_ctc_decoding.py",
    "train/test_optim.py",
    "train/test_optim_state.py",
    "train/test_clipping.py",
    "layers/test_pooling.py",
    "layers/test_attention.py",
    "models/test_frame_heads.py",
    "models/test_frame_model.py",
    "models/test_forecaster.py",
    "layers/test_copies.py",
    "files/test_open_files.py",
    "core/test_calls.py",
    "layers/test_composition.py",
    "core/test_backward_without.py",
    "core/test_masked_outputs.py",
    "layers/test_single_cells.py",
    "layers/test_state_dicts.py",
    "layers/test_mlstm.py",
    "train/test_train.py",
    "calls/test_junk.py",
    "core/test_arrays.py",
    "cli/test_cli_bench.py",
    "files/test_damaged_files.py",
    "train/test_leftovers.py",
    "cli/test_cli_files.py",
    "cli/test_cli_corpus.py",
    "losses/test_weighted_losses.py",
    "losses/test_value_losses.py",
    "models/test_weighted_models.py",
    "data/test_damaged_data.py",
    "files/test_hostile_files.py",
    "examples/test_examples_data.py",
    "data/test_csv_sequences.py",
    "data/test_token_files.py",
    "data/test_scaling.py",
    "losses/test_losses.py",
    "data/test_tables.py",
    "data/test_tokenizer.py",
    "train/test_train_sequences.py",
    "train/test_train_loaders.py",
    "core/test_interrupts.py",
    "core/test_units.py",
    "files/test_serialize.py",
    "data/test_characters.py",
    "cli/test_cli_against.py",
    "cli/test_cli_refusals.py",
    "cli/test_cli_convert.py",
    "export_c/test_cells.py",
    "export_c/test_layers.py",
)
# How a file begins that only these tests see, and the package that they need.
OF_TORCH = (
    "peers/test_torch_modules.py",
    "peers/test_torch_quick.py",
    "peers/test_torch_module_cases.py",
    "peers/test_torch_swap.py",
    "peers/test_torch_own_cases.py",
    "peers/test_torch_compile.py",
)
NEEDS = (
    ("fastcell/torch/", "torch", OF_TORCH),
    ("fastcell/_bindings/tensors", "torch", OF_TORCH),
    ("fastcell/_bindings/quick", "torch", OF_TORCH),
    ("fastcell/sklearn/", "sklearn", ("peers/test_sklearn.py",)),
)
# A mutation may make a loop endless: then it is noticed by the clock, after three times
# what the tests take without one, and at least so many seconds.
SECONDS = 400

MUTATIONS = [
    *mutations_of_core.MUTATIONS,
    *mutations_of_products.MUTATIONS,
    *mutations_of_regularizers.MUTATIONS,
    *mutations_of_layers.MUTATIONS,
    *mutations_of_programs.MUTATIONS,
    *mutations_of_exports.MUTATIONS,
    *mutations_of_torch.MUTATIONS,
]


def main(words: list[str]) -> int:
    if words == ["--list"]:
        print("\n".join(what for *_, what in MUTATIONS))
        return 0
    part, parts = 1, 1
    if words[:1] == ["--part"]:
        part, parts = map(int, words[1].split("/"))
        words = words[2:]
    chosen = [m for m in MUTATIONS if not words or any(w in m[3] for w in words)]
    chosen = chosen[part - 1 :: parts]
    absent = [m for m in chosen if not can_run(m[0])]
    chosen = [m for m in chosen if m not in absent]
    bad, built = 0, False  # built: what is built is a mutation
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"
        skipped = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "dist")
        shutil.copytree(ROOT, tree, ignore=skipped)
        for path in (tree / "setup.py", tree / "src_c/Makefile"):
            text = path.read_text().replace("-O3", "-O1")  # built sooner
            # A warning, as of what is not used any more, is no test.
            path.write_text(text.replace("-Werror", ""))
        begin = time.monotonic()
        tests = {name: None for m in chosen for name in tests_for(m[0])}
        if outcome := build(tree) or run(tree, 3600, list(tests)):
            print(f"without a mutation: {outcome}")
            return 1
        limit = max(SECONDS, 3 * (time.monotonic() - begin))
        print(f"without a mutation: {time.monotonic() - begin:.0f} s", flush=True)
        for file, old, new, what in chosen:
            begin = time.monotonic()
            path = tree / file
            text = path.read_text()
            if text.count(old) != 1:
                verdict = f"STALE: {text.count(old)} places in {file}"
                bad += 1
            else:
                path.write_text(text.replace(old, new))
                mutates_c = not file.endswith(".py")
                outcome = build(tree) if mutates_c or built else ""
                outcome = outcome or run_in_turn(tree, limit, file, what)
                built = mutates_c
                verdict = f"noticed by {outcome}" if outcome else "SURVIVED"
                bad += not outcome
                path.write_text(text)  # newer than what was built: built again
            seconds = time.monotonic() - begin
            print(f"{what}: {verdict} ({seconds:.0f} s)", flush=True)
    for file, *_, what in absent:
        print(f"{what}: not run, {need_of(file)} is not installed")
    print(f"{len(chosen)} mutations, {bad} not noticed, {len(absent)} not run")
    return 1 if bad else 0


def need_of(file: str) -> str:
    """Return the package that the tests of a file need, or nothing."""
    return next((need for start, need, _ in NEEDS if file.startswith(start)), "")


def can_run(file: str) -> bool:
    need = need_of(file)
    return not need or importlib.util.find_spec(need) is not None


def tests_for(file: str) -> list[str]:
    """Return the files of tests for a mutation of a file, the likely ones first."""
    for start, _, tests in NEEDS:
        if file.startswith(start):
            return list(tests)
    stem = Path(file).stem

    def mentions(name: str) -> int:
        return (ROOT / "tests" / name).read_text().count(stem)

    first, *others = TESTS
    return [first, *sorted(others, key=mentions, reverse=True)]


def run_in_turn(tree: Path, limit: float, file: str, what: str) -> str:
    """Run the tests that noticed it the last time, then all; return what failed."""
    tests = tests_for(file)
    turns = [tests[:LIKELY], tests[LIKELY:]]
    if file.startswith("src_c/"):
        turns.insert(1, [CORE])
    last = json.loads(NOTICED.read_text()).get(what)
    if last:
        turns.insert(0, [last])
    for tests in filter(None, turns):  # without files, pytest would run all there are
        outcome = run_core(tree, limit) if tests == [CORE] else run(tree, limit, tests)
        if outcome:
            remember(what, outcome)
            return outcome
    return ""


def remember(what: str, outcome: str) -> None:
    """Note which tests noticed a mutation: those are run first the next time."""
    if not outcome.startswith(("tests/", CORE)):
        return  # the clock, the compiler
    noticed = json.loads(NOTICED.read_text())  # now: another part may have written
    by = CORE if outcome.startswith(CORE) else outcome.split("::")[0]
    noticed[what] = by.removeprefix("tests/")
    text = json.dumps(dict(sorted(noticed.items())), indent=0, ensure_ascii=False)
    NOTICED.write_text(text + "\n")


def build(tree: Path) -> str:
    """Build the extension in place; return what the compiler said, or nothing."""
    command = [sys.executable, "setup.py", "-q", "build_clib", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    if done.returncode:
        return "the compiler: " + done.stderr.strip().splitlines()[-1]
    return ""


def run(tree: Path, limit: float, tests: list[str]) -> str:
    """Run the tests until the first one fails, and return which, or nothing."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *(f"tests/{name}" for name in tests)],
            cwd=tree,
            env={
                **os.environ,
                "PYTHONPATH": str(tree),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return "the clock"
    if done.returncode == 0:
        return ""
    failed = [
        line
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED ", "ERROR "))
    ]
    return failed[0].split()[1] if failed else f"exit code {done.returncode}"


def run_core(tree: Path, limit: float) -> str:
    """Build the C core and run its tests; return what failed, or nothing."""
    for target in ("all", "check"):
        try:
            done = subprocess.run(
                ["make", "-s", "-C", str(tree / "src_c"), target],
                capture_output=True,
                text=True,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return "the clock"
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines() or ["?"]
            failed = [x for x in said if "failed" in x and " 0 failed" not in x]
            return f"{CORE} {target}: {(failed or said)[0]}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
