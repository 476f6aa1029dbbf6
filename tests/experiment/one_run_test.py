"""The split decided in the midst of a training: one budget, one history, weights carried over."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import commands
import lcma_tf
from lcma_tf import ConfigError, TrainConfig
from lcma_tf.distribute.strategy import RuntimeConfig
from lcma_tf.experiment.carried_weights import carried_flow
from lcma_tf.experiment.going_on import in_the_way
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.training.backup import BackupError, Resume, optimizer_step
from lcma_tf.training.history import read_history, write_history
from lcma_tf.training.phase import TrainingPhase, make_optimizer
from lcma_tf.training.phase_files import PhaseFiles
from lcma_tf.training.whole_weights import save_weights
from testing import tiny_flow

pytestmark = pytest.mark.usefixtures("eager_and_deterministic")

SMALL = {
    **commands.TINY,
    "base_dim": 1,
    "train_steps": 13,
    "factorize_at_step": 6,
    "learning_rate_schedule": "cosine",
    "learning_rate": 0.01,
    "ema": 0.9,
}


class Stopped:
    """The run with `SMALL`, unbroken, and once more, stopped in both parts before it goes on."""

    def __init__(self, folder):
        self.dataset = commands.write_npz(folder / "images.npz")
        self.unbroken, self.broken = (Workdir(folder / name) for name in ("unbroken", "broken"))
        self.rates = {}  # Step -> learning rate.
        with pytest.MonkeyPatch.context() as patch:
            self._remember(patch, stop_at=())
            self.ended = self.train(self.unbroken)
        self.codes = []
        with pytest.MonkeyPatch.context() as patch:
            self._remember(patch, stop_at=(4, 10))
            patch.setattr(Run, "finish", lambda run, model: {})  # Seen above, and slow.
            for _ in range(3):
                self.codes.append(self.train(self.broken).code)

    def train(self, workdir, **changes):
        values = {**SMALL, "dataset": self.dataset, "workdir": workdir.path, **changes}
        return commands.call("lcma_tf.train", *commands.as_flags(**values))

    def _remember(self, patch, stop_at):
        save = Resume.on_epoch_end

        def on_epoch_end(callback, epoch, logs=None):
            save(callback, epoch, logs)
            step = optimizer_step(callback.model)
            self.rates[step] = float(callback.model.optimizer.learning_rate)
            if step in stop_at:
                raise KeyboardInterrupt

        patch.setattr(Resume, "on_epoch_end", on_epoch_end)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return Stopped(tmp_path_factory.mktemp("one_run"))


def test_it_is_one_run(stopped):
    assert stopped.ended.code == 0, stopped.ended.err
    assert "pretrain: 6 steps without multi-scale, the first of 13" in stopped.ended.out
    assert "of 8 networks 4 whole, 4 the channels that stay" in stopped.ended.out
    metrics = stopped.unbroken.read_metrics()
    told = [metrics[name] for name in ("steps", "pretrain_steps", "factorize_at_step")]
    assert told == [13, 0, 6]
    rows = read_history(stopped.unbroken.files("train").history)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [row["step"] for row in rows] == [4, 6, 10, 13]
    assert [row["factorized"] for row in rows] == [0, 0, 1, 1]
    assert rows[:2] == read_history(stopped.unbroken.files("pretrain").history)
    with Image.open(stopped.unbroken.path / "training.png") as picture:
        assert picture.format == "PNG"


def test_the_learning_rate_is_that_of_all_steps(stopped):
    schedule = make_optimizer(TrainConfig(learning_rate=0.01, learning_rate_schedule="cosine"), 13)
    for step, rate in stopped.rates.items():
        schedule.iterations.assign(step)
        np.testing.assert_allclose(rate, float(schedule.learning_rate), rtol=1e-5, atol=1e-9)
    assert set(stopped.rates) == {4, 6, 10, 13}


def test_stopped_in_both_parts_it_ends_as_the_unbroken_one(stopped):
    assert stopped.codes == [130, 130, 0]
    ours, theirs = stopped.broken, stopped.unbroken
    assert lcma_tf.Factorization.load(ours.factorization) == lcma_tf.Factorization.load(
        theirs.factorization
    )
    for ours_of, theirs_of in zip(*(_states(w) for w in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(ours_of, theirs_of)
    for phase in ("pretrain", "train"):
        histories = [read_history(w.files(phase).history) for w in (ours, theirs)]
        assert histories[0] == histories[1]


def _states(workdir):
    return lcma_tf.load(workdir.path).get_weights()


def test_a_history_without_its_backup_is_not_begun_anew(stopped, tmp_path):
    backup, aside = stopped.broken.files("train").backup, tmp_path / "backup"
    backup.rename(aside)
    result = stopped.broken.model.rename(tmp_path / "model.keras")
    try:
        ended = stopped.train(stopped.broken)
        commands.assert_refused(ended, "A run that has done 4 epochs goes on from a backup")
    finally:
        aside.rename(backup)
        result.rename(stopped.broken.model)


def test_a_second_part_killed_before_its_first_backup_begins_again(tmp_path):
    files = PhaseFiles(tmp_path, tmp_path / "model.keras")
    rows = [
        {"epoch": epoch, "step": step, "factorized": factorized, "val_bits_per_dim": bits}
        for epoch, (step, factorized, bits) in enumerate([(4, 0, 3.0), (6, 0, 2.0), (10, 1, 5.0)])
    ]
    assert files.forget_epochs_from(2, first_step=6, before=rows[:2]) is None  # As it begins.
    assert [row["step"] for row in read_history(files.history)] == [4, 6]
    write_history(files.history, rows, [*rows[0]])
    assert files.forget_epochs_from(2, first_step=6, before=rows[:2]) is None
    assert [row["step"] for row in read_history(files.history)] == [4, 6]
    write_history(files.history, rows, [*rows[0]])
    with pytest.raises(BackupError, match="weights of the best epoch"):
        files.forget_epochs_from(3, first_step=6)
    save_weights(tiny_flow(image_shape=SHAPE, num_scales=1), files.best)
    assert files.forget_epochs_from(3, first_step=6) == 5.0  # Not that of another flow.


def test_another_step_is_another_run(stopped):
    ended = stopped.train(stopped.broken, factorize_at_step=7)
    commands.assert_refused(ended, "factorize_at_step=6 there and 7 now")


def test_what_may_differ():
    config = TrainConfig(train_steps=20, factorize_at_step=5)
    there, apart = (
        {**lcma_tf.FlowConfig().to_dict(), **c.to_dict()}
        for c in (config, dataclasses.replace(config, factorize_at_step=None))
    )
    more = {"train_steps": 30, "pretrain_steps": 7}  # Which is not read.
    assert in_the_way(there, {**there, **more}, is_decided=True) == []
    (told,) = in_the_way(apart, there)
    assert told == "factorize_at_step=None there and 5 now"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"factorize_at_step": 20}, "less than train_steps=20; got 20."),
        ({"split_rule": "realnvp"}, "None with split_rule='realnvp', which needs no pretraining"),
        ({"split_rule": "none"}, "None with split_rule='none', which needs no pretraining; got 5."),
        ({"factorization_path": "f.npz"}, "None where `factorization_path` is given; got 5."),
        ({"initialize_from": "run"}, "None where `initialize_from` is given; got 5."),
    ],
)
def test_what_has_no_use_for_it_is_refused(values, words):
    with pytest.raises(ConfigError) as error:
        TrainConfig(**{"train_steps": 20, "factorize_at_step": 5, **values})
    assert str(error.value).startswith("`factorize_at_step` must be ") and words in str(error.value)


def test_steps_per_call_divide_both_parts():
    config = TrainConfig(train_steps=8, factorize_at_step=6, pretrain_steps=7, steps_per_epoch=2)
    RuntimeConfig(steps_per_execution=2).check_fits(config)
    with pytest.raises(ConfigError, match="must divide factorize_at_step=6"):
        RuntimeConfig(steps_per_execution=4).check_fits(
            dataclasses.replace(config, steps_per_epoch=4)
        )


def test_the_warm_up_of_the_schedule_may_be_the_longer_one():
    assert TrainConfig(train_steps=20, pretrain_steps=3, warmup_steps=9, factorize_at_step=5)


def test_learning_a_factorization_takes_the_first_steps(monkeypatch):
    taken = []

    def run(phase, *_):
        taken.append((phase.num_steps, phase.part.run_steps, phase.part.first_step))
        return tiny_flow(image_shape=(8, 8, 3), num_scales=2, rule="none")

    monkeypatch.setattr(TrainingPhase, "run", run)
    config = lcma_tf.FlowConfig(
        commands.SHAPE, num_scales=2, base_dim=2, num_residual_blocks=1, num_couplings=1
    )
    steps = TrainConfig(train_steps=9, factorize_at_step=4, batch_size=8)
    lcma_tf.learn_factorization(config, commands.splits()["train"], steps)
    assert taken == [(4, 9, 0)]


# What is carried over.

SHAPE, SCALES = (8, 8, 1), 3
DIAGONAL = [0, 3]  # Of the corners of a block, those of the static rule.


def pattern(name="pattern"):
    static = lcma_tf.decide_factorization("realnvp", image_shape=SHAPE, num_scales=SCALES)
    return lcma_tf.Factorization(name, SHAPE, static.masks)


def weights(flow, network):
    (found,) = (n for n in flow.networks if n.name == network)
    return {variable.name: np.asarray(variable) for variable in found.weights}


@pytest.fixture(scope="module")
def source():
    """A flow without splits, all its weights at random."""
    return tiny_flow(image_shape=SHAPE, num_scales=SCALES, rule="none")


@pytest.fixture(scope="module")
def carried(source):
    return carried_flow(source, pattern())


def test_the_first_level_is_carried_whole(source, carried):
    names = [n.name for n in carried.networks if n.name.startswith("layer_1_")]
    assert names
    for name in names:
        ours, theirs = weights(carried, name), weights(source, name)
        assert ours.keys() == theirs.keys()
        for weight in ours:
            np.testing.assert_array_equal(ours[weight], theirs[weight], err_msg=f"{name} {weight}")


def assert_sliced(ours, theirs, inputs, outputs):
    """Conditioners: `ours` are the channels of `theirs` that are named."""
    size, half = len(theirs["input_beta"]), len(theirs["output_bias"]) // 2
    both = np.concatenate(
        [inputs, size + inputs, np.arange(2 * size, theirs["input_kernel"].shape[2])]
    )
    ends = np.concatenate([outputs, half + outputs])
    for name, weight in theirs.items():
        if name.startswith("input_") and name not in ("input_kernel", "input_bias"):
            weight = weight[inputs]
        elif name == "input_kernel":
            weight = weight[:, :, both]
        elif name.startswith("output_"):
            weight = weight[..., ends]
        np.testing.assert_array_equal(ours[name], weight, err_msg=name)


def test_later_levels_get_the_channels_that_stay(source, carried):
    level_2 = np.array(DIAGONAL)
    level_3 = np.array([4 * a + b for a in DIAGONAL for b in DIAGONAL])
    for name, channels in (
        ("layer_2_checkerboard_0", level_2),
        ("layer_3_checkerboard_0", level_3),
    ):
        assert_sliced(weights(carried, name), weights(source, name), channels, channels)
        ours, theirs = (weights(flow, f"{name}_moments") for flow in (carried, source))
        np.testing.assert_array_equal(ours["mean"], theirs["mean"][channels])
        np.testing.assert_array_equal(ours["variance"], theirs["variance"][channels])


def test_couplings_over_channels_keep_their_halves(source, carried):
    # Of 16 squeezed channels the first eight are kept, which hold corners 0 and 1; corner 0 stays.
    kept, changed = np.arange(4), 4 + np.arange(4)  # Among eight each: corners 0, and 3 of 2 and 3.
    name = "layer_2_channel_0"
    assert_sliced(weights(carried, name), weights(source, name), kept, changed)
    ours, theirs = (weights(flow, f"{name}_moments")["mean"] for flow in (carried, source))
    np.testing.assert_array_equal(ours, theirs[[0, 1, 2, 3, 12, 13, 14, 15]])


def test_curves_go_with_their_channels():
    source = tiny_flow(image_shape=SHAPE, num_scales=SCALES, rule="none", coupling="spline")
    flow, name = carried_flow(source, pattern()), "layer_2_checkerboard_0"
    ours, theirs = (weights(one, name) for one in (flow, source))
    for weight in ("output_kernel", "output_magnitude", "output_bias"):
        found, expected = (by_parameter(w[weight]) for w in (ours, theirs))
        for mine, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, other[..., DIAGONAL, :])


def by_parameter(weight):
    """Of the last axis shift, raw log-scale and the 11 numbers of a spline: `[..., c, 1 or 11]`."""
    channels = weight.shape[-1] // 13
    parts = np.split(weight, [channels, 2 * channels], axis=-1)
    return [part.reshape(*weight.shape[:-1], channels, -1) for part in parts]


def test_where_blocks_differ_most_of_them_decide(source, carried):
    masks = [mask.copy() for mask in pattern().masks]
    masks[0][:2, :2, 0] = ~masks[0][:2, :2, 0]
    mixed = carried_flow(source, lcma_tf.Factorization("mixed", SHAPE, masks))
    for ours, theirs in zip(mixed.get_weights(), carried.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_has_no_like_stays_fresh(source):
    config = dataclasses.replace(source.config, exit_prior="conditional", coupling_masks="aligned")
    other = lcma_tf.FlowModel(config)
    other.set_weights(source.get_weights())
    flow = carried_flow(other, pattern())
    assert not weights(flow, "layer_1_exit")["kernel"].any()
    assert_sliced(
        weights(flow, "layer_2_checkerboard_0"),
        weights(source, "layer_2_checkerboard_0"),
        *[np.array(DIAGONAL)] * 2,
    )


def test_aligned_masks_that_differ_by_channel_are_told_by_as_much_in_all():
    shape = (4, 4, 2)
    config = lcma_tf.FlowConfig(
        shape,
        num_scales=2,
        base_dim=2,
        num_residual_blocks=1,
        num_couplings=1,
        coupling_masks="aligned",
    )
    mask = np.indices(shape).sum(axis=0) % 2 == 0  # The other diagonal in the other channel.
    source = lcma_tf.FlowModel(config)
    flow = carried_flow(source, lcma_tf.Factorization("mine", shape, [mask]))
    ours, theirs = (weights(f, "layer_1_checkerboard_0")["input_kernel"] for f in (flow, source))
    np.testing.assert_array_equal(ours[:, :, :4], theirs[:, :, :4])
    np.testing.assert_allclose(ours[:, :, 4:].sum(axis=2), theirs[:, :, 4], rtol=1e-6)


def test_later_levels_of_glow_stay_fresh():
    config = lcma_tf.FlowConfig(SHAPE, flow="glow", num_scales=2, base_dim=2, num_steps_per_scale=1)
    source = lcma_tf.FlowModel(config)
    for variable in source.weights:
        if "float" in variable.dtype:
            variable.assign(np.full(variable.shape, 0.25))
    flow = carried_flow(source, lcma_tf.Factorization("mine", SHAPE, pattern().masks[:1]))
    fresh = lcma_tf.FlowModel(config, flow.factorization)
    for network in flow.networks:
        told = source if network.name.startswith("layer_1_") else fresh
        for name, weight in weights(told, network.name).items():
            np.testing.assert_array_equal(weights(flow, network.name)[name], weight)
