"""The smallest example runs, and learns to continue "hell" to "ello"."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
TIME_LIMIT = 60.0  # seconds, on a busy machine


def test_hello_learns_to_continue_hell_to_ello():
    process = subprocess.run(
        [sys.executable, EXAMPLES / "hello.py"],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert process.returncode == 0, process.stderr
    before, after = process.stdout.split("after training")
    assert "before training" in before
    answers = re.findall(r'after "hell" it says "(\w+)"', process.stdout)
    assert len(answers) == 2
    assert answers[0] != "ello"
    assert answers[1] == "ello"
    losses = [float(x) for x in re.findall(r"loss (\d\.\d+)", before)]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    # Each of the four steps shows a hidden state of 3 units, and 4 scores, and beliefs
    # that sum to 1, the largest of which is the answer.
    for part in (before, after):
        rows = re.findall(r"^  (\d)   (\w) (.*) -> (\w)$", part, re.MULTILINE)
        assert "".join(row[1] for row in rows) == "hell"
        for _, _, numbers, answer in rows:
            values = [float(x) for x in numbers.split()]
            assert len(values) == 3 + 4 + 4
            assert abs(sum(values[7:]) - 1) < 0.03
            assert "helo"[values.index(max(values[7:]), 7) - 7] == answer
