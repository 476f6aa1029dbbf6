"""Two processes on loopback train what one does, leave one set of files, and go on after a kill."""

import json
import signal

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.config import ConfigError
from lcma_tf.distribute.workers import Cluster
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.training.contributions import load_contributions
from two_workers import SECONDS, Pair, assert_out_of_touch, rows


class TwoRuns:
    """One run of two workers; or the second is killed in training, then both are started again."""

    def __init__(self, folder, flags, is_broken):
        self.workdir, self.elsewhere = Workdir(folder / "workdir"), folder / "elsewhere"
        workdirs = (self.workdir.path, self.elsewhere)
        self.broken = None
        if is_broken:
            with Pair(flags, workdirs) as pair:
                self.broken = self._break(pair)
            self.files_when_broken = commands.files(self.workdir.path)
        with Pair(flags, workdirs) as pair:
            self.finished = pair.end()

    def _break(self, pair):
        history = self.workdir.phase("train") / "history.csv"
        chief, second = pair.workers
        chief.wait_until(lambda: history.exists() and len(rows(history)) >= 2, SECONDS)
        second.send_signal(signal.SIGKILL)
        return pair.end()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return commands.finished_run(tmp_path_factory)


@pytest.fixture(scope="module")
def two(tmp_path_factory, one, at_length):
    return TwoRuns(tmp_path_factory.mktemp("two_workers"), one.flags, at_length(False, True))


def test_the_chief_ends_when_a_worker_is_killed(two):
    if two.broken is None:
        pytest.skip("Minutes; that the chief dies is tried in every run, in worker_dies_test.py.")
    chief, second = two.broken
    assert second.code == -signal.SIGKILL
    assert_out_of_touch(chief)
    assert "train/backup/latest.weights.h5" in two.files_when_broken
    assert "model.keras" not in two.files_when_broken


def test_the_commands_end_and_go_on_where_they_were(two):
    chief, second = two.finished
    assert (chief.code, second.code) == (0, 0), chief.err + second.err
    is_resumed = "pretrain: " not in chief.out and "Epoch 1/6" not in chief.out
    assert is_resumed == (two.broken is not None)
    assert "Epoch 6/6" in chief.out and "images/s per replica" in chief.out


def test_the_others_write_and_say_nothing(two):
    assert not two.elsewhere.exists()
    for ended in [pair[1] for pair in (two.broken, two.finished) if pair]:
        assert "[lcma_tf]" not in ended.out and "Epoch" not in ended.out


def test_they_leave_the_files_of_one_process(two, one):
    ours, theirs = (
        {name for name in commands.files(path) if "events.out" not in name}
        for path in (two.workdir.path, one.workdir)
    )
    assert ours == theirs


@pytest.mark.parametrize(("phase", "num_epochs"), [("pretrain", 4), ("train", 6)])
def test_the_losses_are_those_of_one_process(two, one, phase, num_epochs):
    ours, theirs = (
        rows(workdir.phase(phase) / "history.csv")
        for workdir in (two.workdir, Workdir(one.workdir))
    )
    assert len(ours) == len(theirs) == num_epochs
    for name in theirs[0]:
        # The parts are differences of large numbers, and drift further apart than their sum.
        tolerance = 1e-3 if "bits_per_dim" in name else 5e-3
        np.testing.assert_allclose(
            [float(row[name]) for row in ours],
            [float(row[name]) for row in theirs],
            rtol=tolerance,
            atol=tolerance,
            err_msg=name,
        )


def test_they_decide_the_same(two, one):
    theirs = Workdir(one.workdir)
    assert lcma_tf.Factorization.load(two.workdir.factorization) == lcma_tf.Factorization.load(
        theirs.factorization
    )
    for our, their in zip(
        load_contributions(two.workdir.contributions),
        load_contributions(theirs.contributions),
        strict=True,
    ):
        np.testing.assert_allclose(our, their, rtol=1e-2, atol=1e-2)


def test_they_end_with_the_same_flow(two, one):
    ours, theirs = (lcma_tf.load(path).get_weights() for path in (two.workdir.path, one.workdir))
    for our, their in zip(ours, theirs, strict=True):
        # Where a gradient is 0 but for rounding, as of what a batch norm takes out again, Adam walks
        # by up to its learning rate of 1e-3 a step, for 22 steps.
        np.testing.assert_allclose(our, their, rtol=0.05, atol=0.05)
    ours, theirs = (json.loads(w.metrics.read_text()) for w in (two.workdir, Workdir(one.workdir)))
    for name in ("test_bits_per_dim", "validation_bits_per_dim"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3)
    for name in ("split_rule", "num_parameters", "exact_reconstructions", "pretrain_steps"):
        assert ours[name] == theirs[name]


def test_other_flags_on_another_host_are_refused(one, tmp_path):
    workdirs = (tmp_path / "new", tmp_path / "elsewhere")
    with Pair(one.flags, workdirs, second_flags=["--train_steps=21"]) as pair:
        chief, second = pair.end()
    assert (chief.code, second.code) == (1, 1), chief.err + second.err
    assert "Flags and data must be the same on all 2 workers" in chief.err
    assert "train_steps=22 on the chief and 21 here" in second.err
    assert list(tmp_path.iterdir()) == []


CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


@pytest.mark.parametrize(
    ("tf_config", "expected"),
    [
        ("", Cluster(1, 0)),
        ("{}", Cluster(1, 0)),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, Cluster(1, 0)),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, Cluster(3, 0)),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}, Cluster(3, 2)),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": "0"}}, Cluster(3, 1)),
    ],
)
def test_tf_config_tells_who_is_who(tf_config, expected, monkeypatch):
    text = tf_config if isinstance(tf_config, str) else json.dumps(tf_config)
    monkeypatch.setenv("TF_CONFIG", text)
    assert Cluster.from_environment() == expected


@pytest.mark.parametrize(
    ("tf_config", "message"),
    [
        ("{", "`TF_CONFIG` must be JSON with `cluster`.*; got '{'"),
        ("[]", "`TF_CONFIG` must be JSON with `cluster`"),
        ('{"cluster": {"worker": 2}}', "`TF_CONFIG` must be JSON with `cluster`"),
        ({"cluster": {**CLUSTER, "ps": ["d:1"]}}, "must list tasks of type worker.*; got ps"),
        ({"cluster": {"chief": ["a:1", "b:1"]}}, "at most one chief; got several chiefs"),
        ({"cluster": CLUSTER}, "must name a `task` that its `cluster` lists; got {} and 3 tasks"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, "must name a `task`"),
    ],
)
def test_a_wrong_tf_config_is_refused(tf_config, message, monkeypatch):
    text = tf_config if isinstance(tf_config, str) else json.dumps(tf_config)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=message):
        Cluster.from_environment()
