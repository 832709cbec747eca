"""Break the code on purpose, and see that the tests notice.

Run by hand from the root of the repository, in an environment that can build it:

    python tests/mutations.py            all mutations, about 15 seconds each
    python tests/mutations.py gate dR    those whose description has one of the words
    python tests/mutations.py --part 1/2 every second one; 2/2: the others, beside it
    python tests/mutations.py --list

Each mutation is made in a copy of the tree in a temporary folder, which is built in
place; then tests run until the first one fails: those that noticed it the last time
(mutations_noticed.json), the likeliest, those of the C core if the file is in C, all
others that are fast. A mutation that no test notices survives, and the exit code is 1.
A mutation whose text is no longer in its file is reported as stale: write it anew, do
not delete it. Those of fastcell.torch and fastcell.sklearn need PyTorch and
scikit-learn; where one is not installed, its mutations are named as not run.
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
import mutations_of_layers
import mutations_of_products
import mutations_of_programs
import mutations_of_torch

ROOT = Path(__file__).resolve().parent.parent
LIKELY = 4  # files of tests that are run before those of the C core, which take longer
CORE = "make"  # in place of a file of tests: those of the C core
NOTICED = ROOT / "tests/mutations_noticed.json"  # what -> the file of tests
TESTS = (
    "test_fuzz.py",  # notices most, in a second
    "test_cells_gradients.py",
    "test_cells_forward.py",
    "test_precision.py",
    "test_embedding.py",
    "test_memory_budget.py",
    "test_segments.py",
    "test_linear.py",
    "test_dropout.py",
    "test_sequential.py",
    "test_sessions.py",
    "test_parameters.py",
    "test_accuracy.py",
    "test_bits.py",
    "test_promises.py",
    "test_threads.py",
    "test_layers_arguments.py",
    "test_ctc_loss.py",
    "test_ctc_decoding.py",
    "test_optim.py",
    "test_optim_state.py",
    "test_clipping.py",
    "test_pooling.py",
    "test_attention.py",
    "test_frame_heads.py",
    "test_frame_model.py",
    "test_forecaster.py",
    "test_copies.py",
    "test_open_files.py",
    "test_calls.py",
    "test_composition.py",
    "test_backward_without.py",
    "test_masked_outputs.py",
    "test_single_cells.py",
    "test_state_dicts.py",
    "test_train.py",
    "test_junk.py",
    "test_arrays.py",
    "test_cli_bench.py",
    "test_damaged_files.py",
    "test_leftovers.py",
    "test_cli_files.py",
    "test_cli_corpus.py",
    "test_weighted_losses.py",
    "test_weighted_models.py",
    "test_damaged_data.py",
    "test_hostile_files.py",
    "test_examples_data.py",
    "test_csv_sequences.py",
    "test_token_files.py",
    "test_scaling.py",
    "test_losses.py",
    "test_tables.py",
    "test_tokenizer.py",
    "test_train_sequences.py",
    "test_train_loaders.py",
    "test_interrupts.py",
    "test_units.py",
    "test_serialize.py",
    "test_characters.py",
    "test_cli_against.py",
    "test_cli_refusals.py",
)
# How a file begins that only these tests see, and the package that they need.
OF_TORCH = (
    "test_torch_modules.py",
    "test_torch_quick.py",
    "test_torch_module_cases.py",
    "test_torch_swap.py",
    "test_torch_own_cases.py",
    "test_torch_compile.py",
)
NEEDS = (
    ("fastcell/torch/", "torch", OF_TORCH),
    ("fastcell/_core_tensors", "torch", OF_TORCH),
    ("fastcell/_core_quick", "torch", OF_TORCH),
    ("fastcell/sklearn/", "sklearn", ("test_sklearn.py",)),
)
# A mutation may make a loop endless: then it is noticed by the clock, after three times
# what the tests take without one, and at least so many seconds.
SECONDS = 400

MUTATIONS = [
    *mutations_of_core.MUTATIONS,
    *mutations_of_products.MUTATIONS,
    *mutations_of_layers.MUTATIONS,
    *mutations_of_programs.MUTATIONS,
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
    stem = Path(file).stem.removeprefix("_core_").strip("_")

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
