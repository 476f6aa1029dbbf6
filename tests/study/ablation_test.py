"""A study runs what is missing and no more, shares its pretrainings, and leaves its tables."""

import contextlib
import csv
import dataclasses
import gc
import json
import math
import signal
import types
import weakref

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import commands
import lcma_tf
from lcma_tf import data
from lcma_tf.config import ConfigError
from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.workdir import Workdir, WorkdirError
from lcma_tf.factorization import FactorizationError
from lcma_tf.files.saving import write_json
from lcma_tf.study import run as study_run
from lcma_tf.study.cells import Cells, CellsError
from lcma_tf.study.config import StudyConfig
from lcma_tf.study.folder import StudyFolder
from lcma_tf.training.contributions import load_contributions, save_contributions
from lcma_tf.training.leftovers import nothing_left_behind
from lcma_tf.training.non_finite import NonFiniteError
from testing import tiny_flow

TINY = {**commands.TINY, "pretrain_steps": 6, "train_steps": 9}
FLOW = lcma_tf.FlowConfig(
    commands.SHAPE, num_scales=2, base_dim=2, num_residual_blocks=1, num_couplings=1
)
TRAIN = lcma_tf.TrainConfig("npz:x", train_steps=9, pretrain_steps=6, batch_size=8)


# One real study, killed after its pretraining and finished by the same command.


class BrokenStudy:
    def __init__(self, folder):
        self.folder = StudyFolder(folder / "study")
        dataset = commands.write_npz(folder / "images.npz")
        self.flags = commands.as_flags(dataset=dataset, **TINY)
        argv = [*self.flags, f"--workdir={self.folder.path}"]
        argv += ["--split_rules=lcma,realnvp", "--seeds=3", "--seed=5", "--split_rule=random"]
        process = commands.Started("lcma_tf.ablation", *argv)
        process.wait_until((self.folder.pretraining(3).contributions).exists)
        process.send_signal(signal.SIGKILL)
        process.end()
        self.left = commands.files(self.folder.path)
        self.ended = commands.call("lcma_tf.ablation", *argv)

    def workdir(self, rule):
        return Workdir(self.folder.path / "seed_3" / f"{rule}-9")


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return BrokenStudy(tmp_path_factory.mktemp("broken"))


def test_it_ends_and_says_where_the_report_is(broken):
    assert broken.ended.code == 0, broken.ended.err
    assert broken.ended.out.splitlines()[-1] == str(broken.folder.path / "ablation.md")
    assert "study: run 2 of 2: rule 'realnvp', seed 3, 9 steps; " in broken.ended.out


def test_a_pretraining_that_is_done_is_left_alone(broken):
    now = commands.files(broken.folder.path)
    pretraining = {name for name in now if name.startswith("seed_3/pretraining/")}
    assert "seed_3/pretraining/contributions.npz" in pretraining
    assert {name: now[name] for name in pretraining} == {
        name: state for name, state in broken.left.items() if name in pretraining
    }
    assert not any(name.endswith("metrics.json") for name in broken.left)
    assert "pretrain: " not in broken.ended.out and "Epoch" in broken.ended.out


@pytest.mark.parametrize("rule", ["lcma", "realnvp"])
def test_a_run_of_a_study_is_an_ordinary_run(broken, rule):
    before = broken.workdir(rule).metrics.read_bytes()
    flags = [*broken.flags, f"--split_rule={rule}", "--seed=3"]
    ended = commands.call("lcma_tf.train", *flags, f"--workdir={broken.workdir(rule).path}")
    assert ended.code == 0 and "Epoch" not in ended.out, ended.err
    assert broken.workdir(rule).metrics.read_bytes() == before


def test_a_run_of_a_study_is_what_the_same_run_is_without_one(broken, tmp_path, nothing_drawn):
    flags = [*broken.flags, "--split_rule=lcma", "--seed=3", f"--workdir={tmp_path / 'run'}"]
    ended = commands.call("lcma_tf.train", *flags)
    assert ended.code == 0, ended.err
    ours, theirs = broken.workdir("lcma"), Workdir(tmp_path / "run")
    for layer, same in zip(
        load_contributions(ours.contributions),
        load_contributions(theirs.contributions),
        strict=True,
    ):
        # Sums over threads come in no fixed order.
        np.testing.assert_allclose(layer, same, rtol=1e-4, atol=1e-5)
    assert lcma_tf.load(ours.path).factorization == lcma_tf.load(theirs.path).factorization
    ours, theirs = ours.read_metrics(), theirs.read_metrics()
    assert ours.keys() == theirs.keys() and ours["pretrain_steps"] == theirs["pretrain_steps"] == 6
    for name in ("test_bits_per_dim", "validation_bits_per_dim", "num_parameters"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


def test_the_factorization_is_that_of_the_shared_pretraining(broken):
    shared = broken.folder.pretraining(3)
    contributions = load_contributions(shared.contributions)
    decided = lcma_tf.decide_factorization(
        "lcma", image_shape=commands.SHAPE, num_scales=2, contributions=contributions, seed=3
    )
    assert lcma_tf.load(broken.workdir("lcma").path).factorization == decided
    assert lcma_tf.load(shared.phase("pretrain") / "model.keras").factorization.rule == "none"


def test_the_tables_hold_the_figures_of_the_runs(broken):
    metrics = {rule: broken.workdir(rule).read_metrics() for rule in ("lcma", "realnvp")}
    figures = {rule: found["test_bits_per_dim"] for rule, found in metrics.items()}
    with open(broken.folder.path / "ablation.csv", newline="") as file:
        rows = {row["split_rule"]: row for row in csv.DictReader(file)}
    assert {rule: float(row["test_bits_per_dim"]) for rule, row in rows.items()} == figures
    assert [rows["lcma"][name] for name in ("steps", "pretrain_steps")] == ["9", "6"]
    values = json.loads((broken.folder.path / "ablation.json").read_text())
    assert [arm["mean"] for arm in values["arms"]] == list(figures.values())
    text = (broken.folder.path / "ablation.md").read_text()
    assert f"| `lcma` | {figures['lcma']:.4f} | 3 | 9 | 6 | 15 |" in text
    assert f"{figures['lcma'] - figures['realnvp']:+.4f}" in text and "Finished: 2 of 2" in text
    assert "python -m lcma_tf.ablation --dataset=npz:" in text
    assert "24 / 8 / 8 training, validation and test images of 8 x 8 x 3" in text


@pytest.mark.parametrize("name", ["ablation.png", "samples.png"])
def test_pictures_open(broken, name):
    with Image.open(broken.folder.path / name) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_samples_are_those_of_the_model(broken):
    with np.load(broken.workdir("lcma").path / "samples.npz") as file:
        samples = file["images"]
    model = lcma_tf.load(broken.workdir("lcma").path)
    np.testing.assert_array_equal(samples, model.frozen().sample(36, 3).numpy())


def test_a_run_s_folder_is_no_study_and_a_study_s_no_run(broken):
    flags = [*broken.flags, "--seed=3"]
    for main, path, words in (
        ("ablation", broken.workdir("lcma").path, "`workdir` must be new no study.json"),
        ("train", broken.folder.path, "`workdir` must be new no config.json"),
    ):
        ended = commands.call(f"lcma_tf.{main}", *flags, f"--workdir={path}")
        commands.assert_refused(ended, words)


# What is run, and what is not: with runs that only leave their files.


class Runs:
    """Stands in for the pretraining and the runs; remembers them, and fails where it is told to."""

    def __init__(self, monkeypatch):
        self.done, self.fails, self.scores = [], {}, {}
        monkeypatch.setattr(Run, "pretrain", lambda run, evidence: self.pretrain(run))
        monkeypatch.setattr(Run, "__call__", lambda run: self.run(run))
        monkeypatch.setattr("lcma_tf.study.outputs._samples", self.samples)
        for draw in ("save_ablation", "save_sample_grids"):  # Seen above, and slow.
            monkeypatch.setattr(f"lcma_tf.study.outputs.{draw}", self.draw)

    def pretrain(self, run):
        path = run.workdir.contributions
        if not path.exists():
            self._start("pretraining", run)
            save_contributions(path, [np.full(commands.SHAPE, run.config.seed, np.float32)])

    def run(self, run):
        flow, train, workdir = run.flow, run.config, run.workdir
        name = f"{train.split_rule}-{train.train_steps}"
        self._start(name, run)
        workdir.claim(flow, train)
        workdir.phase("train").mkdir(exist_ok=True)
        (workdir.phase("train") / "history.csv").write_text("epoch,val_bits_per_dim\n0,4.0\n")
        metrics = {
            "test_bits_per_dim": self.scores.get(name, 4.0 + train.seed / 10 + len(name) / 100),
            "num_parameters": 5,
            "mask_agreement_with_realnvp": [0.5],
            "codec_images": 8,
        }
        write_json(workdir.metrics, metrics)
        (workdir.path / "training.png").write_text("Drawn last.")

    def samples(self, workdir, seed):
        return np.zeros((36, *commands.SHAPE), np.uint8)

    def draw(self, path, *what, **how):
        path.write_text("A picture.")

    def _start(self, name, run):
        seed = run.config.seed
        assert run.flow.seed == seed and run.workdir.path.parent.name == f"seed_{seed}"
        if name in self.fails:
            raise self.fails[name]
        self.done.append(f"{seed}/{name}")


@pytest.fixture
def runs(monkeypatch):
    return Runs(monkeypatch)


@pytest.fixture(scope="module")
def images():
    return data.ImageData("npz:x", **commands.splits())


@pytest.fixture
def run_study(runs, images, tmp_path):
    def run(
        *arguments,
        flow=FLOW,
        train=TRAIN,
        runtime=None,
        command="",
        cells=None,
        at="study",
        **values,
    ):
        runs.done.clear()
        folder = StudyFolder(tmp_path / at, cells)
        asked = StudyConfig(*arguments, **values)
        study_run.Study(
            config=asked,
            flow=flow,
            train=train,
            data=images,
            folder=folder,
            runtime=Runtime.open(runtime or RuntimeConfig(), 1),
            command=command,
        )()
        return list(runs.done)

    return run


@pytest.fixture
def report(tmp_path):
    return lambda: (tmp_path / "study" / "ablation.md").read_text()


def test_a_seed_is_pretrained_once_and_only_for_rules_that_need_it(run_study, tmp_path):
    rules = ("realnvp", "lcma", "lcma_reversed")
    expected = ["realnvp-9", "pretraining", "lcma-9", "lcma_reversed-9"]
    assert run_study(rules, (0, 4)) == [f"{seed}/{run}" for seed in (0, 4) for run in expected]
    for seed in (0, 4):
        for rule in rules[1:]:
            path = tmp_path / "study" / f"seed_{seed}" / f"{rule}-9" / "contributions.npz"
            np.testing.assert_array_equal(load_contributions(path), [np.full(commands.SHAPE, seed)])
    assert not (tmp_path / "study" / "seed_0" / "realnvp-9" / "contributions.npz").exists()


def test_what_is_finished_is_not_run_again(run_study, report):
    assert run_study(("realnvp", "random"), (0, 1))
    assert run_study(("realnvp", "random"), (0, 1)) == []
    assert "Finished: 4 of 4 runs." in report()


def test_rules_seeds_and_equal_compute_can_be_added(run_study, report):
    assert run_study(("realnvp",), (0,), command="first") == ["0/realnvp-9"]
    assert run_study(("lcma",), (0,)) == ["0/pretraining", "0/lcma-9"]
    added = run_study(("realnvp",), (1,), command="second")
    assert added == ["1/realnvp-9", "1/pretraining", "1/lcma-9"]  # The rules it has keep pace.
    longer = run_study(("realnvp",), (1,), equal_compute=True, command="second")
    assert longer == ["0/realnvp-15", "1/realnvp-15"]
    assert "Finished: 6 of 6 runs." in report() and "```bash\nfirst\nsecond\n```" in report()
    assert "At equal compute (15 steps in all" in report()


def test_what_is_fitted_for_all_rules_is_told(run_study, report, tmp_path):
    train = dataclasses.replace(TRAIN, whitening="causal")
    run_study(("realnvp",), (0,), train=train)
    told = "Fitted to the training set, for all rules: channel_rotation `none`, whitening `causal`."
    assert told in report()
    run_study(("realnvp",), (0,), at="plain")
    assert "Fitted to" not in (tmp_path / "plain" / "ablation.md").read_text()


def test_with_a_warm_up_in_each_run_nothing_is_shared(run_study, report, tmp_path):
    train = dataclasses.replace(TRAIN, factorize_at_step=4)
    ran = run_study(("realnvp", "lcma"), (0,), train=train, equal_compute=True)
    assert ran == ["0/realnvp-9", "0/lcma-9"]  # These are of equal compute.
    folder = StudyFolder(tmp_path / "study")
    assert not folder.pretraining(0).path.exists()
    steps = {
        arm.rule: folder.run(arm, 0).read_configs()[1].factorize_at_step
        for arm in StudyConfig(("realnvp", "lcma")).arms(train)
    }
    assert steps == {"realnvp": None, "lcma": 4}
    told = report()
    assert "At equal compute (9 steps in all" in told and "comes on top" not in told
    assert "decide after step 4 of their own steps" in told


def test_a_study_goes_on_elsewhere_from_its_cells(run_study, runs, tmp_path):
    path = tmp_path / "cells.jsonl"
    assert run_study(("realnvp",), (0, 1), cells=Cells(path)) == ["0/realnvp-9", "1/realnvp-9"]
    with path.open("a") as file:  # As by a process that was killed.
        file.write('{"cpu_seconds": 1.5, "cur')
    there = {"at": "elsewhere", "cells": Cells(path)}
    assert run_study(("realnvp", "random"), (0, 1), **there) == ["0/random-9", "1/random-9"]
    here, elsewhere = (tmp_path / name / "ablation.json" for name in ("study", "elsewhere"))
    ours = json.loads(elsewhere.read_text())
    assert ours["arms"][0] == json.loads(here.read_text())["arms"][0] and len(ours["runs"]) == 4
    run_study(("realnvp", "random"), (0, 1), cells=Cells(path))
    assert len(path.read_text().splitlines()) == 4  # Those of here are there already.
    # What counts is what comes out: not where the images are, nor how often it is looked at.
    moved = dataclasses.replace(TRAIN, dataset="npz:y", steps_per_epoch=3)
    assert run_study(("random",), (1,), train=moved, at="third", cells=Cells(path)) == []
    longer = dataclasses.replace(TRAIN, train_steps=10)
    more = run_study(("random",), (1,), train=longer, at="fourth", cells=Cells(path))
    assert more == ["1/random-10"]
    # Runs of before there was a file are added to it, too.
    run_study(("lcma",), (0,))
    run_study(("lcma",), (0,), cells=Cells(path))
    lines = path.read_text().splitlines()
    assert len(lines) == 7 and str(tmp_path) not in path.read_text()
    cell = json.loads(lines[0])
    assert cell["curve"] == {"step": [9.0], "val_bits_per_dim": [4.0]}
    assert cell["processor"] and cell["cpu_seconds"] >= 0


@pytest.mark.parametrize(
    "text", ["a note", '{"a": 1}', '{"cpu_seconds": 1.5}', '{"cpu_seconds": 1.5}\n', "{}\n"]
)
def test_a_file_that_is_none_of_cells_is_refused_and_left_as_it_is(tmp_path, text):
    """Only what `add` itself has begun is taken for torn, and away."""
    path = tmp_path / "cells.jsonl"
    path.write_text(text)
    with pytest.raises(CellsError, match="`cells` must be a file of results.* another line 1"):
        Cells(path)
    assert path.read_text() == text


def test_a_damaged_file_of_cells_is_refused(tmp_path):
    path = tmp_path / "cells.jsonl"
    path.write_text('{}\n{"flow": 3}\n')
    with pytest.raises(CellsError, match="`cells` must be a file of results.* another line 1"):
        Cells(path)
    with pytest.raises(CellsError, match="`cells` must be a file of results"):
        Cells(tmp_path)


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("train", {"learning_rate": 0.5}, "learning_rate=0.001 there and 0.5 now"),
        ("train", {"pretrain_steps": 7}, "pretrain_steps=6 there and 7 now"),
        ("flow", {"base_dim": 4}, "base_dim=2 there and 4 now"),
    ],
)
def test_a_study_of_another_config_is_refused(run_study, tmp_path, part, changes, words):
    run_study(("realnvp",), (0,))
    before = commands.files(tmp_path)
    changed = {"train": TRAIN, "flow": FLOW}[part].to_dict() | changes
    changed = {"train": lcma_tf.TrainConfig, "flow": lcma_tf.FlowConfig}[part].from_dict(changed)
    with pytest.raises(
        WorkdirError, match=f"`workdir` must be new or of the same config.* {words}"
    ):
        run_study(("realnvp",), (0,), **{part: changed})
    assert commands.files(tmp_path) == before


def test_seed_and_rule_of_the_configs_do_not_matter(run_study):
    run_study(("realnvp",), (0,))
    other = lcma_tf.TrainConfig.from_dict({**TRAIN.to_dict(), "seed": 8, "split_rule": "random"})
    assert run_study(("realnvp",), (0,), train=other) == []


def test_a_torn_description_is_refused(run_study, tmp_path):
    run_study(("realnvp",), (0,))
    path = tmp_path / "study" / "study.json"
    values = json.loads(path.read_text())
    for torn in ("{", json.dumps({**values, "study": {"split_rules": ["lmca"]}})):
        path.write_text(torn)
        with pytest.raises(WorkdirError, match="with a readable study.json"):
            run_study(("realnvp",), (0,))


def test_a_pretraining_of_another_config_is_refused_before_the_first_run(run_study, tmp_path):
    foreign = Workdir(tmp_path / "study" / "seed_1" / "pretraining")
    other = lcma_tf.TrainConfig.from_dict({**TRAIN.to_dict(), "seed": 2, "split_rule": "none"})
    run_study(("realnvp",), (0,))
    foreign.claim(FLOW, other)
    before = commands.files(tmp_path)
    with pytest.raises(WorkdirError, match="pretraining.* seed=2 there and 1 now"):
        run_study(("realnvp", "lcma"), (0, 1))
    assert commands.files(tmp_path) == before


@pytest.mark.parametrize("error", [NonFiniteError, FactorizationError])
def test_a_run_that_bursts_does_not_stop_the_others(run_study, runs, report, error):
    runs.fails["random-9"] = error("It burst.")
    with pytest.raises(
        study_run.StudyError, match="2 of 4 runs .*: seed_0/random-9, seed_1/random-9"
    ):
        run_study(("random", "realnvp"), (0, 1))
    assert runs.done == ["0/realnvp-9", "1/realnvp-9"]
    assert "Ended without a result: seed_0/random-9. It burst." in report()
    runs.fails.clear()
    assert run_study(("random", "realnvp"), (0, 1)) == ["0/random-9", "1/random-9"]
    assert "It burst." not in report()


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_no_result(run_study, runs, report, tmp_path, score):
    runs.scores["random-9"] = score
    for _ in range(2):  # The second time is no different from the first.
        with pytest.raises(study_run.StudyError, match="1 of 2 runs .*: seed_0/random-9"):
            run_study(("random", "realnvp"), (0,))
        assert "seed_0/random-9. Its bits/dim on the test images are not finite." in report()
        values = json.loads((tmp_path / "study" / "ablation.json").read_text())
        assert [entry["run"] for entry in values["runs"]] == ["seed_0/realnvp-9"]


def test_an_output_is_whole_or_not_there(run_study, tmp_path, monkeypatch):
    run_study(("realnvp",), (0,))

    def stop_halfway(path, *what, **how):
        path.write_text("Half a pict")
        raise KeyboardInterrupt

    monkeypatch.setattr("lcma_tf.study.outputs.save_ablation", stop_halfway)
    with pytest.raises(KeyboardInterrupt):
        run_study(("realnvp",), (0,))
    assert (tmp_path / "study" / "ablation.png").read_text() == "A picture."


def test_an_interruption_leaves_a_report_and_goes_on_with_the_same_run(run_study, runs, report):
    runs.fails["lcma-9"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_study(("realnvp", "lcma", "random"), (0,))
    assert runs.done == ["0/realnvp-9", "0/pretraining"]
    assert "Finished: 1 of 3 runs." in report()
    assert "| `realnvp` | 4.0900 | 0 | 9 |" in report() and "| `lcma` | - | - | 9 |" in report()
    runs.fails.clear()
    assert run_study(("realnvp", "lcma", "random"), (0,)) == ["0/lcma-9", "0/random-9"]


def test_the_time_left_is_that_of_the_steps_left(run_study, capsys, monkeypatch):
    # Every look at the clock is ten minutes later, so a run takes 10 minutes: 9 steps without and 15
    # with the pretraining.
    times = iter(range(0, 10**6, 600))
    monkeypatch.setattr(
        study_run,
        "time",
        types.SimpleNamespace(monotonic=lambda: next(times), process_time=lambda: 0.0),
    )
    run_study(("realnvp", "lcma", "lcma_reversed"), (0,))
    said = [line for line in capsys.readouterr().out.splitlines() if "study: run " in line]
    assert "the time left is known after one whole run" in said[0]
    assert "about 27 min left" in said[1]  # 24 steps of 600 / 9 seconds.
    assert "about 8 min left" in said[2]  # 9 steps of 1200 / 24 seconds.


@pytest.mark.parametrize(
    ("flow", "train", "words"),
    [
        ({}, {"factorization_path": "f.npz"}, "`factorization_path` must be left out"),
        ({"num_scales": 1}, {}, "`num_scales` must be at least 2"),
    ],
)
def test_senseless_configs_are_refused(run_study, tmp_path, flow, train, words):
    flow = lcma_tf.FlowConfig.from_dict({**FLOW.to_dict(), **flow})
    train = lcma_tf.TrainConfig.from_dict({**TRAIN.to_dict(), **train})
    with pytest.raises(ConfigError, match=words):
        run_study(("realnvp",), (0,), flow=flow, train=train)
    assert not (tmp_path / "study").exists()


def test_steps_per_execution_must_suit_the_longer_runs_too(run_study, tmp_path):
    runtime = RuntimeConfig(steps_per_execution=3)
    arguments = {"train": lcma_tf.TrainConfig.from_dict({**TRAIN.to_dict(), "pretrain_steps": 7})}
    with pytest.raises(ConfigError, match="`steps_per_execution` must divide"):
        run_study(("realnvp",), (0,), equal_compute=True, runtime=runtime, **arguments)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split_rules": "lcma,lmca"}, "`split_rules` must be of lcma, lcma_reversed, got 'lmca'."),
        ({"split_rules": "lcma,lcma"}, "`split_rules` must be given once each"),
        ({"split_rules": ""}, "`split_rules` must be at least one; got ()."),
        ({"seeds": ""}, "`seeds` must be at least one; got ()."),
        ({"seeds": "0,1,0"}, "`seeds` must be given once each; got [0, 1, 0]."),
        ({"seeds": "0,x"}, "`seeds` must be whole numbers; got 'x'."),
        ({"seeds": "-1"}, "`seeds` must be whole numbers; got '-1'."),
        ({"seeds": 2**31}, "`seeds` must be integers from 0 to"),
        ({"factorization_path": "f.npz"}, "`factorization_path` must be left out"),
        ({"batch_size": 25}, "`batch_size` must be at most the number of images, 24; got 25"),
        # Before there are data.
        (
            {"cells": "/proc/a.jsonl", "dataset": "npz:none"},
            "`cells` can be written '/proc/a.jsonl'.",
        ),
        ({"cells": "{}/good.npz/a", "dataset": "npz:none"}, "`cells` can be written directory)"),
        ({"workdir": ""}, "`workdir` must be the path of a folder; got ''."),
    ],
)
def test_bad_flags_are_refused(runs, tmp_path, changes, words):
    commands.write_npz(tmp_path / "good.npz")
    good = {**TINY, "dataset": "npz:{}/good.npz", "workdir": "{}/study"}
    flags = commands.flags_in(tmp_path, {**good, **changes})
    commands.assert_refused(commands.call("lcma_tf.ablation", *flags), words)
    assert [path.name for path in tmp_path.iterdir()] == ["good.npz"] and runs.done == []


def test_several_workers_are_refused(tmp_path, monkeypatch):
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    dataset = commands.write_npz(tmp_path / "good.npz")
    flags = commands.as_flags(**TINY, dataset=dataset, workdir=tmp_path / "study")
    ended = commands.call("lcma_tf.ablation", *flags)
    commands.assert_refused(ended, "`TF_CONFIG` must be of one worker got 2.")


def test_the_rule_of_a_run_is_not_read(tmp_path, monkeypatch):
    # Flag files of runs have one, and with it no warm-up would fit.
    asked = []
    monkeypatch.setattr(study_run.Study, "__call__", lambda study: asked.append(study))
    values = {**TINY, "dataset": commands.write_npz(tmp_path / "good.npz")}
    values |= {"split_rule": "none", "split_rules": "realnvp,lcma", "factorize_at_step": 2}
    flags = commands.as_flags(**values, workdir=tmp_path / "study")
    ended = commands.call("lcma_tf.ablation", *flags)
    assert ended.code == 0, ended.err
    assert asked[0].train.factorize_at_step == 2
    flags = commands.as_flags(**{**values, "split_rules": "realnvp"}, workdir=tmp_path / "study")
    ended = commands.call("lcma_tf.ablation", *flags)
    commands.assert_refused(ended, "`factorize_at_step` must be None with split_rule='realnvp'")


def test_flags_are_the_study_s_and_the_run_s(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(study_run.Study, "__call__", lambda study: asked.append(study))
    dataset = commands.write_npz(tmp_path / "good.npz")
    (tmp_path / "run.flags").write_text("--seed=5\n--split_rule=lcma\n--workdir=elsewhere\n")
    argv = [f"--flagfile={tmp_path / 'run.flags'}", f"--workdir={tmp_path / 'study'}"]
    argv += commands.as_flags(dataset=dataset, **TINY)
    assert commands.call("lcma_tf.ablation", *argv).code == 0
    argv += ["--equal_compute", "--seeds=4", "--split_rules=realnvp,lcma"]
    assert commands.call("lcma_tf.ablation", *argv).code == 0
    table_2 = ("random", "lcma_reversed", "realnvp", "lcma")
    assert asked[0].config == StudyConfig(table_2, (0, 1, 2), equal_compute=False)
    ours = asked[1]
    assert ours.config == StudyConfig(("realnvp", "lcma"), (4,), equal_compute=True)
    assert (ours.flow.base_dim, ours.flow.image_shape) == (TINY["base_dim"], commands.SHAPE)
    train = ours.train
    assert (train.train_steps, train.pretrain_steps, train.dataset) == (9, 6, dataset)
    assert len(ours.data.train) == 24 and ours.folder.path == tmp_path / "study"
    assert ours.runtime.config == RuntimeConfig()
    assert ours.command.startswith("python -m lcma_tf.ablation --flagfile=")
    assert ours.command.endswith("--equal_compute --seeds=4 --split_rules=realnvp,lcma")


def graph_of_a_flow():
    """Only a weak reference to what was traced: model and function are gone."""
    model = tiny_flow("realnvp", image_shape=(4, 4, 1))
    step = tf.function(lambda batch: model(batch, training=True), autograph=False)
    return weakref.ref(step.get_concrete_function(tf.zeros([2, 4, 4, 1], tf.uint8)).graph)


@pytest.mark.parametrize("frees", [False, True])
def test_many_flows_in_one_process_do_not_add_up(frees):
    with nothing_left_behind() if frees else contextlib.nullcontext():
        graph = graph_of_a_flow()
    gc.collect()
    assert (graph() is None) == frees  # Should it be freed without our doing, drop `leftovers`.


def test_help_lists_the_flags():
    out = commands.call("lcma_tf.ablation", "--help").out
    assert "--split_rules: " in out and "--[no]equal_compute: " in out and "--base_dim: " in out
