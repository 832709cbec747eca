"""Break the code on purpose, and see that the tests notice.

Run by hand from the root of the repository, in an environment that can build it:

    python tests/mutations.py            all mutations, about half a minute each
    python tests/mutations.py gate dR    those whose description has one of the words
    python tests/mutations.py --part 1/2 every second one; 2/2: the others, beside it
    python tests/mutations.py --list

Each mutation is made in a copy of the tree in a temporary folder, which is built in
place; then the fast tests run until the first one fails, and where none does and the
file is in C, those of the C core. A mutation that no test notices survives, and the
exit code is 1. A mutation whose text is no longer in its file is reported as stale:
write it anew, do not delete it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mutations_of_core
import mutations_of_layers
import mutations_of_programs

ROOT = Path(__file__).resolve().parent.parent
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
    "test_csv_sequences.py",
    "test_token_files.py",
    "test_scaling.py",
    "test_losses.py",
    "test_tables.py",
    "test_tokenizer.py",
    "test_train_sequences.py",
    "test_train_loaders.py",
    "test_interrupts.py",
    "test_cli_against.py",
    "test_cli_refusals.py",
)
# A mutation may make a loop endless: then it is noticed by the clock, after three times
# what the tests take without one, and at least so many seconds.
SECONDS = 400

MUTATIONS = [
    *mutations_of_core.MUTATIONS,
    *mutations_of_layers.MUTATIONS,
    *mutations_of_programs.MUTATIONS,
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
    bad, built = 0, False  # built: what is built is a mutation
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"
        skipped = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "dist")
        shutil.copytree(ROOT, tree, ignore=skipped)
        for path in (tree / "setup.py", tree / "src_c/Makefile"):
            path.write_text(path.read_text().replace("-O3", "-O1"))  # built sooner
        begin = time.monotonic()
        if outcome := run(tree, 3600, build=True):
            print(f"without a mutation: {outcome}")
            return 1
        limit = max(SECONDS, 3 * (time.monotonic() - begin))
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
                outcome = run(tree, limit, build=mutates_c or built)
                if mutates_c and not outcome:
                    outcome = run_core(tree, limit)
                built = mutates_c
                verdict = f"noticed by {outcome}" if outcome else "SURVIVED"
                bad += not outcome
                path.write_text(text)  # newer than what was built: built again
            seconds = time.monotonic() - begin
            print(f"{what}: {verdict} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} mutations, {bad} not noticed")
    return 1 if bad else 0


def run(tree: Path, limit: float, build: bool) -> str:
    """Build if asked, run the tests, and return what failed, or nothing."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if build:
        command = [
            sys.executable,
            "setup.py",
            "-q",
            "build_clib",
            "build_ext",
            "--inplace",
        ]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
        if done.returncode:
            return "the compiler: " + done.stderr.strip().splitlines()[-1]
    tests = [f"tests/{name}" for name in TESTS]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return "the clock"
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
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
            said = done.stdout + done.stderr
            return f"make {target}: {(said.strip().splitlines() or ['?'])[0]}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
