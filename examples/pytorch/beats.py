"""BeatNet before and after one line: a whole piece, and live, frame by frame.

    python examples/pytorch/beats.py --threads 1

Needs `pip install --no-deps BeatNet`. The network, a convolution and two LSTM layers of
150 units, says for each of 50 frames a second whether a beat or a downbeat falls there.
Its weights are those in the package. The frames here are made up: noise with the log
spectrum's 272 bands, louder twice a second. Live, it gets one frame at a time and keeps
its state.
"""

from __future__ import annotations

import copy
from pathlib import Path

import BeatNet.model
import before_after
import numpy as np
import torch

import fastcell.torch

BANDS = 272
FRAMES_A_SECOND = 50


def network() -> torch.nn.Module:
    """Return BeatNet's network with the first of its three sets of weights."""
    model = BeatNet.model.BDA(BANDS, 150, 2, "cpu")
    path = Path(BeatNet.model.__file__).parent / "models" / "model_1_weights.pt"
    model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    return model.eval()


def frames(seconds: float, seed: int) -> torch.Tensor:
    """Return frames (1, T, 272) with a beat each half second."""
    random = np.random.default_rng(seed)
    count = int(seconds * FRAMES_A_SECOND)
    since = np.arange(count) % (FRAMES_A_SECOND // 2)
    loudness = 0.2 + np.exp(-since / 3)
    x = np.log1p(loudness[:, np.newaxis] * random.exponential(1, (count, BANDS)))
    return torch.from_numpy(x.astype(np.float32)).unsqueeze(0)


def whole(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the scores (1, 3, T) of a piece, from the state of silence."""
    model.hidden, model.cell = (torch.zeros(2, 1, model.dim_hd) for _ in range(2))
    return model(x)


def live(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the same, frame by frame."""
    model.hidden, model.cell = (torch.zeros(2, 1, model.dim_hd) for _ in range(2))
    return torch.cat([model(x[:, t : t + 1]) for t in range(x.shape[1])], 2)


def main() -> None:
    """Compare the numbers, then the times."""
    parser = before_after.options(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of music")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    before = network()
    after = copy.deepcopy(before)
    fastcell.torch.accelerate(after)

    x = frames(args.seconds, 0)
    second = x[:, :FRAMES_A_SECOND]
    models = (before, after)
    with torch.no_grad():
        numbers = [(whole(model, x), live(model, second)) for model in models]
        before_after.tell(2, before_after.error(numbers[1], numbers[0]), args.threads)
        for what, run, part in (
            (f"{args.seconds:g} s of music at once", whole, x),
            ("a second of music live", live, second),
        ):
            calls = [lambda m=model, r=run, p=part: r(m, p) for model in models]
            before_after.tell_speed(what, *before_after.seconds(calls, args.blocks))


if __name__ == "__main__":
    main()
