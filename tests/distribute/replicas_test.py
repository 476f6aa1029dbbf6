"""Training on two devices is training on one, however many images each gets of a batch.

Logical devices can be made only before TensorFlow starts, so a process of its own trains here.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import json
import keras
import numpy as np
import tensorflow as tf

from testing import random_images, tiny_flow, tiny_glow
from lcma_tf import NegativeLogLikelihood
from lcma_tf.distribute.strategy import make_strategy
from lcma_tf.model import FusedAdam, FusedMuon
from lcma_tf.training.averaged_weights import AveragedWeights

make_strategy(2, 6)  # Makes the two logical devices, before TensorFlow starts.


def fit_evenly(model, images):
    # Twice: of an endless one 100 batches would be gone through again for the moments.
    batches = tf.data.Dataset.from_tensor_slices(images).batch(6, drop_remainder=True).repeat(2)
    logs = model.fit(batches, steps_per_epoch=1, epochs=2, shuffle=False, verbose=0).history
    if model.config.batch_norm_moments == "all":  # Another graph to build: once is enough.
        logs["evaluation"] = list(
            model.evaluate(batches.take(2), verbose=0, return_dict=True).values()
        )
    return logs


def fit_averaged(model, images):
    # Adam amplifies what rounding leaves of a gradient; with an epsilon beyond all of them it does not.
    with model.distribute_strategy.scope():
        averaging = FusedAdam(100.0, epsilon=1e3, use_ema=True, ema_momentum=0.5)
        model.compile(averaging, loss=NegativeLogLikelihood(), jit_compile=False)
    batches = tf.data.Dataset.from_tensor_slices(images).batch(6, drop_remainder=True)
    logs = model.fit(
        batches.repeat(),
        steps_per_epoch=1,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=batches,
        validation_steps=2,
        callbacks=[AveragedWeights(images, 6, seed=0)],
        recalibrate=False,
    ).history
    averages = np.concatenate([np.ravel(a.numpy()) for _, a in averaging.averages()])
    return {**logs, "averages": averages.tolist()}


def fit_unevenly(model, images):
    # What Keras cuts itself: the last batch has 1 image for two devices, then 3.
    images = [images[:7], images[2:11]]
    logs = [model.fit(x, batch_size=6, shuffle=False, verbose=0).history for x in images]
    told = model.evaluate(images[0], batch_size=6, verbose=0, return_dict=True)
    predicted = model.predict(images[0], batch_size=6, verbose=0)
    # And a program of one's own, whose calls the model counts.
    strategy = model.distribute_strategy
    pieces = images[0][:6].reshape(strategy.num_replicas_in_sync, -1, *images[0].shape[1:])
    piece = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(pieces[context.replica_id_in_sync_group])
    )
    step = tf.function(lambda: strategy.run(lambda x: model(x, training=True), (piece,)))
    own_steps = [tf.concat(strategy.experimental_local_results(step()), 0) for _ in range(2)]
    return {
        "own steps": np.stack(own_steps).tolist(),
        **{name: [epoch[name] for epoch in logs] for name in logs[0]},
        "evaluation": list(told.values()),
        "predicted": predicted.tolist(),
    }


def fit_from_one_image(model, images):
    # The act norms begin with a batch of which the second of two devices has nothing.
    logs = [model.fit(x, batch_size=6, shuffle=False, verbose=0).history for x in (images[:1], images)]
    return {name: [epoch[name] for epoch in logs] for name in logs[0]}


def fit_all_at_once(model, images):
    # They begin with a batch that both have a half of, and halves of other moments.
    return model.fit(images[2:8], batch_size=6, epochs=2, shuffle=False, verbose=0).history


def train(num_devices, moments, channels, rematerialize, fit=fit_evenly, **changes):
    # Dark, then bright: the moments of one replica's rows are far from those of all, and one batch's
    # from the other's.
    images = random_images(12, (4, 2, channels))
    images[:3] //= 4
    images[6:9] //= 2
    is_glow = fit in (fit_from_one_image, fit_all_at_once)
    with make_strategy(num_devices, batch_size=6).scope():
        model = (tiny_glow if is_glow else tiny_flow)(
            random_weights=None if is_glow else 1,
            rematerialize=rematerialize,
            image_shape=(4, 2, channels),
            batch_norm_moments=moments,
            whitens=fit is fit_unevenly,
            **{"num_scales": 1, **changes},
        )
        model.compile(keras.optimizers.SGD(1e-3), loss=NegativeLogLikelihood(), jit_compile=False)
    variables = [v for network in model.networks for v in network.variables]
    before = [v.numpy() for v in variables]
    return {
        "logs": fit(model, images),
        "trainable": {
            v.path: (v.numpy() - old).tolist()
            for v, old in zip(variables, before, strict=True)
            if v.trainable
        },
        "moments": {v.path: v.numpy().tolist() for v in variables if not v.trainable},
    }


def steps_of_muon(num_devices):
    # Of gradients far from zero, of which each replica has a part.
    shapes, rng = [(2, 3, 3, 2, 4), (3, 3, 2, 4), (4,)], np.random.default_rng(0)
    gradients = [rng.normal(size=shape).astype("float32") for shape in shapes]
    strategy = make_strategy(num_devices, batch_size=6)
    with strategy.scope():
        variables = [keras.Variable(np.ones(shape, "float32")) for shape in shapes]
        muon = FusedMuon(0.1)
        muon.build(variables)

    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        share = tf.cast(replica + 1, tf.float32) / sum(range(1, num_devices + 1))
        muon.apply([tf.constant(gradient) * share for gradient in gradients])

    for _ in range(2):
        strategy.run(tf.function(step))
    return [variable.numpy().tolist() for variable in variables]


# Dimensions exit, by masks that the couplings follow, coded by what stays; a network draws the noise.
SPLITS = {
    "num_scales": 2,
    "coupling_masks": "aligned",
    "exit_prior": "residual",
    "dequantization": "variational",
}
muon = {devices: steps_of_muon(n) for devices, n in (("one", 1), ("two", 2))}

# Flows one after the other, as a run pretrains and trains, of different shapes.
print(json.dumps({"muon": muon} | {
    name: {devices: train(number, moments, channels, rematerialize and number == 2, fit, **changes)
           for devices, number in (("one", 1), ("two", 2))}
    for name, moments, channels, rematerialize, fit, changes in (
        ("changed", "changed", 2, False, fit_evenly, {}),
        ("all", "all", 1, False, fit_evenly, {}),
        ("rematerialized", "changed", 1, True, fit_averaged, {}),
        ("uneven", "changed", 1, False, fit_unevenly, {}),
        ("splines", "changed", 2, True, fit_evenly, {"coupling": "spline"}),
        ("splits", "changed", 2, False, fit_evenly, SPLITS),
        ("glow", "changed", 1, False, fit_all_at_once, {}),
        ("glow, uneven", "changed", 1, True, fit_from_one_image, {}),
    )
}))
"""


@pytest.fixture(scope="module")
def results():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]),
            "CUDA_VISIBLE_DEVICES": "-1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


REALNVPS = ("changed", "all", "rematerialized", "uneven", "splines", "splits")
GLOWS = ("glow", "glow, uneven")


@pytest.fixture(params=[*REALNVPS, *GLOWS])
def one_and_two(request, results):
    return results[request.param]["one"], results[request.param]["two"]


def test_orthogonal_steps_are_those_of_the_global_gradient(results):
    one, two = results["muon"]["one"], results["muon"]["two"]
    for alone, shared in zip(one, two, strict=True):
        assert np.ptp(alone) > 0.1  # They moved, and not all alike.
        np.testing.assert_allclose(shared, alone, rtol=1e-4, atol=1e-4)


def assert_equal_by_name(one, two, rtol, atol):
    assert one.keys() == two.keys() and one
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=rtol, atol=atol, err_msg=name)


def test_the_loss_and_its_parts(one_and_two):
    one, two = one_and_two
    assert_equal_by_name(one["logs"], two["logs"], rtol=1e-4, atol=0)


def test_gradients(one_and_two):
    one, two = one_and_two
    size = max(np.abs(change).max() for change in one["trainable"].values())
    assert size > 1e-3
    assert_equal_by_name(one["trainable"], two["trainable"], rtol=1e-3, atol=1e-5 * size)


@pytest.mark.parametrize("one_and_two", REALNVPS, indirect=True)
@pytest.mark.parametrize("kind", ["conditioner", "in_flow"])
def test_moving_moments(one_and_two, kind):
    one, two = (
        {
            name: value
            for name, value in result["moments"].items()
            if ("_moments/" in name) == (kind == "in_flow")
        }
        for result in one_and_two
    )
    assert_equal_by_name(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("one_and_two", GLOWS, indirect=True)
def test_act_norms_begin_with_the_whole_batch(one_and_two):
    one, two = one_and_two
    assert_equal_by_name(one["moments"], two["moments"], rtol=0, atol=0)
    assert all(begun for name, begun in two["moments"].items() if name.endswith("/initialized"))
