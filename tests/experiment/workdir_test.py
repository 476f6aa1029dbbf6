"""Whose folder it is, and that a file is written whole or not at all."""

import os

import pytest

import commands
from lcma_tf import FlowConfig, TrainConfig
from lcma_tf.experiment.workdir import Workdir, WorkdirError
from lcma_tf.files.saving import write_json

FLOW, TRAIN = FlowConfig((8, 8, 3), num_scales=3, alpha=0.02), TrainConfig(seed=4)


def test_nothing_is_made_before_it_is_claimed(tmp_path):
    workdir = Workdir(tmp_path / "a" / "b")
    workdir.check(FLOW, TRAIN)
    assert list(tmp_path.iterdir()) == []
    workdir.claim(FLOW, TRAIN)
    assert [path.name for path in workdir.path.iterdir()] == ["config.json"]


def test_what_was_claimed_is_read_again(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.claim(FLOW, TRAIN)
    assert Workdir(str(tmp_path)).read_configs() == (FLOW, TRAIN)


def test_the_same_run_may_go_on(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.check(FLOW, TRAIN)  # Empty: free.
    workdir.claim(FLOW, TRAIN)
    before = commands.files(tmp_path)
    (tmp_path / "model.keras").touch()
    workdir.check(FLOW, TRAIN)
    workdir.claim(FLOW, TRAIN)
    assert commands.files(tmp_path)["config.json"] == before["config.json"]
    workdir.check(FLOW, TrainConfig(seed=4, data_dir="moved"))  # Where data lie changes nothing.


@pytest.mark.parametrize(
    ("flow", "train", "message"),
    [
        (FlowConfig((8, 8, 3), num_scales=2, alpha=0.02), TRAIN, "num_scales=3 there and 2 now"),
        (FlowConfig((8, 8, 1), num_scales=3, alpha=0.02), TRAIN, r"image_shape=\[8, 8, 3\] there"),
        (FLOW, TrainConfig(seed=4, flip=True), "flip=False there and True now"),
        (FLOW, TrainConfig(), "seed=4 there and 0 now"),
    ],
)
def test_another_run_may_not(tmp_path, flow, train, message):
    workdir = Workdir(tmp_path)
    workdir.claim(FLOW, TRAIN)
    with pytest.raises(WorkdirError, match=message):
        workdir.check(flow, train)


@pytest.mark.parametrize(
    "content", ["", '{"flow": {}', "{}", '{"flow": {"a": 1}, "train": {}}', "7"]
)
def test_a_config_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(
        WorkdirError, match="`workdir` must be a run's, with a readable config.json"
    ):
        Workdir(tmp_path).read_configs()


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json(path, {"value": 1})
    with pytest.raises(TypeError):
        write_json(path, {"value": 2, "other": object()})
    monkeypatch.setattr(os, "replace", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"value": 3})
    assert path.read_text() == '{\n  "value": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_claim_that_was_cut_short_is_made_again(tmp_path, monkeypatch):
    workdir, configs = Workdir(tmp_path / "run"), (FlowConfig(), TrainConfig())
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(os, "replace", _interrupted)
        with workdir.locked():
            workdir.claim(*configs)
    assert [path.name for path in workdir.path.iterdir()] == ["lock"]
    (workdir.path / "unfinished_config.json").write_text('{"flow')  # As a kill leaves it.
    workdir.check(*configs)
    workdir.claim(*configs)
    assert workdir.read_configs() == configs


def _interrupted(*args):
    raise KeyboardInterrupt
