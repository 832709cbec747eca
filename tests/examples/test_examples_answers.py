"""Examples of question answering, dialogue and activities, on generated data."""

import gzip
import json
import re

import numpy as np
import pytest
from examples_run import load, run

import fastcell
from fastcell.data import WordVocabulary


@pytest.fixture
def random():
    return np.random.default_rng(0)


def number(printed, name):
    """Return the number after ``name:`` at the start of a line."""
    return float(re.search(rf"^{re.escape(name)}: ([\d.]+)", printed, re.MULTILINE)[1])


# ------------------------------------------------------------------------- questions


def write_task(folder, task, random, people=("Mary", "John")):
    """Stories of two statements, and where somebody is: a question of bAbI's task 1."""
    places = ["kitchen", "garden", "office"]
    for part, count in (("train", 400), ("test", 60)):
        lines = []
        for _ in range(count):
            at = {}
            for n in range(1, 4):
                who = str(random.choice(people))
                at[who] = str(random.choice(places))
                lines.append(f"{n} {who} went to the {at[who]}.")
            who = str(random.choice(list(at)))
            lines.append(f"4 Where is {who}?\t{at[who]}\t1 2")
        (folder / f"qa{task}_{part}.txt").write_text("\n".join(lines) + "\n")


def test_questions(tmp_path, random):
    for task in (1, 8):
        write_task(tmp_path, task, random)
    saved = tmp_path / "models"
    options = ("--epochs", 60, "--hidden", 32, "--save", saved)
    printed = run("questions", tmp_path, *options)
    assert number(printed, "accuracy") > 90
    assert number(printed, "as published or above") == 2
    assert number(printed, "published") == (50 + 45) / 2
    rows = re.findall(r"^ +(\d+) +([\d.]+)% +(\d+)%  where is", printed, re.MULTILINE)
    assert [(task, published) for task, _, published in rows] == [
        ("1", "50"),
        ("8", "45"),
    ]
    for task in (1, 8):
        model = fastcell.load(saved / f"qa{task}.safetensors")
        text = (saved / f"qa{task}.words.json").read_text()
        words = "where is mary ? john went to the office mary went to the garden"
        ids = WordVocabulary.from_json(text).encode(words)
        assert model.predict(ids[:, np.newaxis]).tolist() == ["garden"]


def test_questions_of_some_tasks(tmp_path, random):
    write_task(tmp_path, 4, random)
    saved = tmp_path / "models"
    options = ("--epochs", 1, "--hidden", 4, "--save", saved, "--tasks")
    assert "of 1 tasks" in run("questions", tmp_path, *options, "4")
    assert (saved / "qa4.safetensors").exists()
    for wrong in ("4,21", "four", "4,"):
        run("questions", tmp_path, *options, wrong, error="numbers from 1 to 20")
    run("questions", tmp_path, *options, "5", error="qa5_train.txt")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "qa1_train.txt: the file is empty"),
        ("1 Mary left.\n", "qa1_train.txt: must have a question; got none"),
        ("1 Where is Mary?\thall\t1\n", "line 1 must have a story before it"),
        (
            "1 Mary left.\n2 Where is Mary?\thall\t1\n1 Where is Mary?\thall\t1\n",
            "line 3 must have a story before it",
        ),
        ("1 Mary left.\n2 Where is Mary?\t\t1\n", "line 2 must have an answer"),
        ("Mary left.\n", "line 1 must be a number and a sentence; got 'Mary left.'"),
        ("1 Mary left.\n2\n", "line 2 must be a number and a sentence; got '2'"),
        (
            "1 Mary is out.\n2 Where is Mary?\tout\t1\n3 Where is she?\tout\t1\n",
            "must have two answers; got 'out' only",
        ),
    ],
)
def test_questions_tell_what_is_wrong_with_a_file(tmp_path, text, error):
    for part in ("train", "test"):
        (tmp_path / f"qa1_{part}.txt").write_text(text)
    run("questions", tmp_path, "--save", tmp_path / "models", error=error)


# ---------------------------------------------------------------------- conversation

TABLE = [
    {"name": "pizza hut", "phone": "01223 323737", "food": "italian", "area": "west"},
    {"name": "curry garden", "phone": "01223 302330", "food": "indian"},
    {"name": "the missing sock", "phone": "01223 812660", "address": "12 Low Road"},
]


def dialogue(random):
    """Ask for one thing, then for another."""
    row = TABLE[random.integers(3)]
    replies = {
        "phone": f"The phone number is {row['phone']}, bye.",
        "name": f"{row['name'].title()} is nice!",
    }
    turns = [
        {"usr": {"transcript": f"The {what} please"}, "sys": {"sent": replies[what]}}
        for what in random.choice(list(replies), 2).tolist()
    ]
    return {"dial": turns, "goal": None}


def write_dialogues(folder, random, count=150):
    (folder / "CamRestDB.json").write_text(json.dumps(TABLE))
    dialogues = json.dumps([dialogue(random) for _ in range(count)])
    (folder / "CamRest676.json.gz").write_bytes(gzip.compress(dialogues.encode()))


def test_conversation(tmp_path, random):
    pytest.importorskip("sacrebleu")
    write_dialogues(tmp_path, random)
    saved = tmp_path / "model.safetensors"
    printed = run(
        "conversation", tmp_path, "--epochs", 30, "--hidden", 24, "--save", saved
    )
    assert number(printed, "BLEU") > 90
    assert number(printed, "slot accuracy") > 90
    assert number(printed, "slot F1") > 90
    assert 1 <= number(printed, "perplexity") < 2
    assert "the phone please\n> the phone number is [phone] , bye ." in printed
    model = fastcell.load(saved)
    text = saved.with_suffix(".words.json").read_text(encoding="utf-8")
    vocabulary = WordVocabulary.from_json(text)
    assert {"[name]", "[phone]", "<user>", "<system>"} <= {*vocabulary.words}
    ids = vocabulary.encode("<3> <user> the name please")[:, np.newaxis]
    reply = vocabulary.decode(model.predict(ids)[0])
    assert reply == ["[name]", "is", "nice", "!"]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("CamRestDB", [], "CamRestDB.json: must be a list of objects; got []"),
        ("CamRestDB", {"name": "ask"}, "CamRestDB.json: must be a list of objects"),
        ("CamRest676", ["hello"], "CamRest676.json: must be a list of objects"),
        ("CamRest676", [{"dial": []}] * 9, "must have a turn in each part"),
        (
            "CamRest676",
            [{"dial": [{"usr": {"transcript": "hello"}}]}] * 9,
            "turns must have usr.transcript and sys.sent; got {'usr'",
        ),
    ],
)
def test_conversation_tells_what_is_wrong_with_a_file(
    tmp_path, random, name, content, error
):
    pytest.importorskip("sacrebleu")
    write_dialogues(tmp_path, random, 10)
    (tmp_path / f"{name}.json").write_text(json.dumps(content))
    saved = tmp_path / "model.safetensors"
    run("conversation", tmp_path, "--save", saved, error=error)


def test_conversation_takes_the_values_of_the_table_for_slots():
    other = {"name": "ask", "postcode": "C.B 2, 1 A.B", "area": "centre", "food": None}
    restaurants = load("conversation").Restaurants([*TABLE, other])
    tokens, named = restaurants.read("Pizza Hut, C.B.2 1A.B, don't task West westers")
    assert tokens == (
        ["[name]", ",", "[postcode]", ",", "don't", "task", "[area]", "westers"]
    )
    assert named == {"name": "pizzahut", "postcode": "cb21ab", "area": "west"}
    tokens, _ = restaurants.read("12 low road: 01223-302330?")
    assert tokens == ["[address]", ":", "[phone]", "?"]
    assert restaurants.read("huts")[1] == {}
    assert restaurants.read("Western")[1] == {"area": "west"}
    assert restaurants.number({}) == "<4>"
    assert restaurants.number({"area": "west"}) == "<1>"
    assert restaurants.number({"area": "west", "food": "indian"}) == "<0>"


def test_conversation_reads_the_last_turns():
    conversation = load("conversation")
    said = ["Indian?", "No.", "West?", "Pizza Hut", "Bye", "Bye"]
    turns = [
        {"usr": {"transcript": user}, "sys": {"sent": system}}
        for user, system in zip(said[::2], said[1::2], strict=True)
    ]
    restaurants = conversation.Restaurants(TABLE)
    pairs = list(conversation.exchanges([{"dial": turns}] * 2, restaurants, 3))
    assert pairs[:3] == pairs[3:]
    assert [" ".join(source) for source, _ in pairs[:3]] == [
        "<1> <user> [food] ?",
        "<0> <user> [food] ? <system> no . <user> [area] ?",
        "<0> <user> [area] ? <system> [name] <user> bye",
    ]
    assert [" ".join(reply) for _, reply in pairs[:3]] == ["no .", "[name]", "bye"]


# -------------------------------------------------------------------------- activity


def clips(random, count=90):
    """People who move an arm, or both legs, or nothing."""
    label = np.arange(count) % 3
    length = random.integers(15, 41, count)
    stand = random.standard_normal((15, 2))
    poses = []
    for k, n in zip(label, length, strict=True):
        pose = stand + 0.05 * random.standard_normal((n, 15, 2))
        moved = ([7, 8], [9, 10], [])[k]
        pose[:, moved, 1] += np.sin(np.arange(n))[:, np.newaxis]
        poses.append(pose * [random.choice([-1, 1]), 1])
    return {
        "pose_milli": np.rint(1000 * np.concatenate(poses)).astype(np.int16),
        "length": length.astype(np.int32),
        "label": label.astype(np.uint8),
        "class_names": np.array(["wave", "jump", "stand"]),
        "is_test": (np.arange(count) // 3 % 3 == [[0], [1]]).astype(np.uint8),
    }


def test_activity(tmp_path, random):
    np.savez(tmp_path / "jhmdb_pose14.npz", **clips(random))
    saved = tmp_path / "model.safetensors"
    options = ("--epochs", 40, "--hidden", 12, "--save", saved)
    printed = run("activity", tmp_path, *options)
    assert len(re.findall(r"^split \d: [\d.]+% of 30 clips", printed, re.M)) == 2
    assert number(printed, "accuracy") > 90
    assert "  clip of wave: wave, with probability " in printed
    model = fastcell.load(saved)
    assert model.classes == ["wave", "jump", "stand"]
    activity = load("activity")
    arrays, names, _ = activity.read(tmp_path / "jhmdb_pose14.npz")
    x = activity.features(activity.Clips(*arrays).shown(slice(None)))
    answers = model.predict(x)
    assert (answers == np.array(names)[arrays[-1]]).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"length": np.full(90, 7)}, "pose_milli must have the shape (630, 15, 2)"),
        ({"label": np.zeros(90, int)}, "must be of two or more of the 3 classes"),
        ({"label": np.arange(89) % 3}, "label and is_test must be of all 90 clips"),
        ({"label": np.arange(90) % 2 * 7}, "of the 3 classes; got [0, 7]"),
        ({"is_test": None}, "must have the array 'is_test'"),
    ],
)
def test_activity_tells_what_is_wrong_with_a_file(tmp_path, random, change, error):
    arrays = {k: a for k, a in (clips(random) | change).items() if a is not None}
    np.savez(tmp_path / "jhmdb_pose14.npz", **arrays)
    saved = tmp_path / "model.safetensors"
    run("activity", tmp_path, "--save", saved, error=error)


def test_activity_shows_clips_otherwise_in_each_epoch(random):
    activity = load("activity")
    arrays = clips(random, 40)
    length = arrays["length"].astype(int)
    pose = arrays["pose_milli"] / 1000
    parts = (length.cumsum() - length, length, arrays["label"])
    data = activity.Clips(pose, *parts, seed=3)
    assert len(data) == len(data.epoch(0)) == 2
    (x, lengths, y), (rest, _, _) = data.epoch(0)
    assert x.shape[:2] == (32, 32)
    assert rest.shape[:2] == (32, 8)
    assert lengths is None
    assert y.shape == (32,)
    again = activity.Clips(pose, *parts, seed=3)
    assert (again.epoch(1)[0][0] != x).any()
    assert (again.epoch(0)[0][0] == x).all()
    whole = data.shown(slice(None))
    first = data.start[5]
    np.testing.assert_allclose(whole[5, 0], pose[first])
    np.testing.assert_allclose(whole[5, -1], pose[first + length[5] - 1])
    twice = activity.mirror(activity.mirror(whole))
    np.testing.assert_array_equal(twice, whole)


@pytest.mark.parametrize("name", ["questions", "conversation", "activity"])
def test_help_and_a_folder_without_data(name, tmp_path):
    shown = run(name, "--help")
    for option in ("--epochs", "--seed", "--cell", "--threads", "--save"):
        assert option in shown
    saved = tmp_path / "saved"
    run(name, tmp_path, "--save", saved, error="No such file")
