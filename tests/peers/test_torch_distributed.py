"""fastcell.torch in DistributedDataParallel: two processes, one gradient."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="torch without torch.distributed"
    ),
]

PROGRAM = """
    import pathlib
    import torch
    import fastcell.torch
    from torch.nn.parallel import DistributedDataParallel

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = fastcell.torch.LSTM(5, 9, 2, bidirectional=True)
            self.cell = fastcell.torch.GRUCell(18, 7)
            self.linear = torch.nn.Linear(7, 3)

        def forward(self, x):
            y, _ = self.rnn(x)
            h = torch.zeros(x.shape[1], 7)
            for y_t in y:
                h = self.cell(y_t, h)
            return self.linear(h)

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    model = Model()
    whole = Model()
    whole.load_state_dict(model.state_dict())
    spread = DistributedDataParallel(model)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (spread, whole)]
    for step in range(3):
        torch.manual_seed(step)
        x = torch.randn(6, 8, 5)
        for m, part, optimizer in zip(
            (spread, whole), (x[:, rank::2], x), optimizers, strict=True
        ):
            optimizer.zero_grad()
            m(part).square().mean().backward()
        worst = max(
            float((a.grad - b.grad).abs().max() / b.grad.abs().max())
            for a, b in zip(model.parameters(), whole.parameters(), strict=True)
        )
        assert worst < 1e-6 * (step + 1), (step, worst)
        for optimizer in optimizers:
            optimizer.step()
    pathlib.Path(f"alike-{rank}").touch()
    torch.distributed.destroy_process_group()
"""


def test_two_processes_give_the_gradient_of_the_joined_batch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(tmp_path.glob("alike-*")) == [
        tmp_path / "alike-0",
        tmp_path / "alike-1",
    ]
