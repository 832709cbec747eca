"""Examples of forecasting learn generated data."""

import re

import numpy as np
import pytest
from examples_run import load, run

import fastcell

PARTS = ["Collar", "Shldr", "ForeArm", "Hand", "Buttock", "Thigh", "Shin", "Foot"]
JOINTS = ["hip", "abdomen", "chest", "neck", "head"] + [
    side + part
    for side in "rl"
    for part in [
        "Collar",
        "Shldr",
        "ForeArm",
        "Hand",
        "Buttock",
        "Thigh",
        "Shin",
        "Foot",
    ]
]


def errors(printed, name):
    """Return the errors of a line of motion.py: the model's, and zero velocity's."""
    line = re.search(rf"^{name}: (.*) \(zero velocity (.*)\)$", printed, re.M)
    return [[float(error) for error in part.split()] for part in line.groups()]


def dance_in(folder):
    """Write dancers that turn about while their joints swing, once in two seconds."""
    random = np.random.default_rng(0)
    stands = random.integers(-300, 300, (21, 3)) * (np.arange(21) > 0)[:, np.newaxis]
    for k, name in enumerate(JOINTS):  # the right thigh on the other side than the left
        if name.endswith("Thigh"):
            stands[k] = (150 if name[0] == "r" else -150), -100, 0
    takes, length = [1, 2, 3, 13], 160
    frames = []
    for _ in takes:
        t = np.arange(length) + random.integers(60)
        swing = np.sin(2 * np.pi * t / 60)[:, np.newaxis, np.newaxis]
        joints = stands + swing * np.float64([0, 200, 0]) * (np.arange(21) > 4)[:, None]
        turn = 0.02 * t + random.uniform(0, 6)
        x, z = joints[..., 0], joints[..., 2]
        cos, sin = np.cos(turn)[:, np.newaxis], np.sin(turn)[:, np.newaxis]
        joints[..., 0], joints[..., 2] = cos * x - sin * z, sin * x + cos * z
        frames.append(joints + np.float64([500, 900, 0]))
    np.savez(
        folder / "salsa_xyz_30fps.npz",
        xyz_mm=np.concatenate(frames).round().astype(np.int16),
        length=np.full(len(takes), length, np.int32),
        take=np.uint8(takes),
        joint_names=np.array(JOINTS),
        parent=np.int8([-1, *range(20)]),
    )


def actions_in(folder):
    """Write two actions, whose joints turn to and fro at one speed each."""
    random = np.random.default_rng(0)
    frames, actions, tests = [], [], []
    for action, period in (("walking", 60), ("running", 40)):
        reach = random.uniform(0, 0.4, 117)
        for k in range(3):
            t = np.arange(220) + random.integers(60)
            frames.append(np.sin(2 * np.pi * t / period)[:, np.newaxis] * reach)
            actions.append(action)
            tests.append(k == 2)
    np.savez(
        folder / "cmu_expmap_5actions.npz",
        frames=np.concatenate(frames).astype(np.float32),
        length=np.full(len(frames), 220, np.int32),
        action=np.array(actions),
        is_test=np.array(tests),
    )


def test_dance(tmp_path):
    pytest.importorskip("matplotlib")
    dance_in(tmp_path)
    saved, plot = tmp_path / "model.safetensors", tmp_path / "dance.gif"
    options = "--epochs", 60, "--hidden", 32, "--dropout", 0, "--save", saved
    printed = run("motion", tmp_path, *options, "--plot", plot)
    ours, still = errors(printed, "dance")
    assert len(ours) == len(still) == 4
    assert ours[-1] < 0.4 * still[-1]
    model = fastcell.load(saved)
    assert model.predict(np.zeros((30, 1, 63), np.float32), 40).shape == (40, 1, 63)
    assert plot.read_bytes().startswith(b"GIF89a")


def test_actions(tmp_path):
    actions_in(tmp_path)
    saved = tmp_path / "model.safetensors"
    options = "--epochs", 20, "--hidden", 32, "--dropout", 0, "--save", saved
    printed = run("motion", tmp_path, "--name", "cmu", *options)
    for action in ("walking", "running"):
        ours, still = errors(printed, action)
        assert len(ours) == len(still) == 5
        assert sum(ours) < 0.5 * sum(still)
    assert fastcell.load(saved).frame_size == 117


def turn(axis, angle):
    """Return the matrix that turns about an axis."""
    x, y, z = np.eye(3)[axis]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_euler_angles_are_those_of_turns_one_after_the_other():
    euler = load("motion").euler
    angles = np.array([0.3, -0.7, 1.1])
    r = turn(0, angles[0]) @ turn(1, angles[1]) @ turn(2, angles[2])
    axis = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    axis /= np.linalg.norm(axis)
    maps = np.arccos((np.trace(r) - 1) / 2) * axis
    np.testing.assert_allclose(euler(maps), -angles, atol=1e-12)
    np.testing.assert_allclose(euler(np.float64([0, 0.5, 0])), [0, -0.5, 0], atol=1e-12)
    assert not euler(np.zeros((2, 5, 6))).any()


def table_in(folder, hours=14_400, bad=None):
    """Write a table whose last variable follows the hour of the day."""
    random = np.random.default_rng(0)
    t = np.arange(hours)
    level = np.cumsum(random.standard_normal(hours)) / 20
    oil = 10 * np.sin(2 * np.pi * t / 24) + level + random.standard_normal(hours) / 10
    values = np.stack([oil + 1, random.standard_normal(hours), oil], axis=1)
    if bad is not None:
        values[bad] = np.nan
    lines = [f"2016-07-01 00:00:00,{a:.4f},{b:.4f},{c:.4f}" for a, b, c in values]
    text = "date,HUFL,HULL,OT\n" + "\n".join(lines) + "\n"
    (folder / "ETTh1.csv").write_text(text)


@pytest.mark.parametrize("variables", ["one", "all"])
def test_forecasting(tmp_path, variables):
    pytest.importorskip("matplotlib")
    table_in(tmp_path)
    saved, plot = tmp_path / "model.safetensors", tmp_path / "forecasts.png"
    options = "--variables", variables, "--epochs", 1, "--hidden", 16, "--save", saved
    printed = run("forecasting", tmp_path, *options, "--plot", plot)
    mse = dict(re.findall(r"^(.*): MSE ([\d.]+), MAE", printed, re.M))
    last, _, ours = (float(value) for value in mse.values())
    assert list(mse) == ["repeated last hour", "repeated last day", "LSTM"]
    assert ours < 0.5 * last
    count = {"one": 1, "all": 3}[variables]
    model = fastcell.load(saved)
    x = np.zeros((96, 2, count), np.float32)
    assert model.predict(x).shape == (2, 24 * count)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_table_that_is_short_or_has_gaps_is_refused(tmp_path):
    table_in(tmp_path, 500)
    run("forecasting", tmp_path, error="must have 14400 hours; got 500")
    table_in(tmp_path, bad=77)
    run("forecasting", tmp_path, error="HUFL of hour 77 is not finite")


def test_recordings_that_are_short_or_not_finite_are_refused(tmp_path):
    actions_in(tmp_path)
    path = tmp_path / "cmu_expmap_5actions.npz"
    with np.load(path) as file:
        arrays = dict(file)
    length = arrays["length"]
    np.savez(path, **{**arrays, "length": length - 1})
    run("motion", tmp_path, "--name", "cmu", error="frames must be those of all")
    short = length.cumsum() - length + np.arange(140)[:, np.newaxis]
    tested = arrays["is_test"].astype(bool)
    parts = {
        "frames": arrays["frames"][short[:, tested].T.ravel()],
        "length": np.full(tested.sum(), 140),
        "action": arrays["action"][tested],
        "is_test": arrays["is_test"][tested],
    }
    np.savez(path, **parts)
    run("motion", tmp_path, "--name", "cmu", error="must have 152 frames; got 140")
    arrays["frames"][18, 30] = np.nan
    np.savez(path, **arrays)
    run("motion", tmp_path, "--name", "cmu", error="must be finite")


@pytest.mark.parametrize("name", ["motion", "forecasting"])
def test_help_and_a_folder_without_data(name, tmp_path):
    assert "--epochs" in run(name, "--help")
    run(name, tmp_path, error="No such file")
