"""Batch-norm statistics that belong to the weights: a pass over the data with these fixed."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.config import require, require_count
from lcma_tf.data import training_batches
from lcma_tf.model.density import ImageDensity
from lcma_tf.model.noise import MOMENTS

__all__ = ["batches_again", "moves_moments", "noise_of", "recalibrate", "recalibrate_after_fit"]

_MAX_BATCHES = 100


def recalibrate(
    model: ImageDensity,
    images: np.ndarray,
    batch_size: int = 64,
    seed: int = 0,
    max_batches: int = _MAX_BATCHES,
    verbose: bool = True,
) -> None:
    """Sets the moving moments of all batch norms to equal-weight averages over training batches.

    Training leaves an exponential average that lags behind the weights; a flow evaluated with it can
    be off by orders of magnitude. Weights do not change here. `FlowModel.fit` ends with it; a loop of
    your own must. A flow without batch norms (`glow`) is left as it is, at once.

    Args:
        model: a `FlowModel`, changed in place.
        images: the training set, uint8 `[N, H, W, C]`.
        batch_size: that of the training, since the moments are those of such batches.
        seed: order and noise.
        max_batches: batches to average over, at most one pass.
        verbose: show a bar.

    Raises:
        ConfigError: another model, or a count below 1.
        DataError: images of another type or rank, or none.
        ValueError: images of another shape than the flow's.
    """
    trains = isinstance(model, ImageDensity) and isinstance(model, keras.Model)
    require(trains, "model", "a FlowModel", type(model).__name__)
    require_count("batch_size", batch_size)
    require_count("max_batches", max_batches)
    model.check_array(images)
    batch_size = min(batch_size, len(images))
    num_batches = min(max_batches, len(images) // batch_size)
    batches = training_batches(images, batch_size, seed).take(num_batches)
    _average_moments(model, batches, seed, num_batches, verbose)


def noise_of(model: ImageDensity, seed: Any, index: tf.Tensor, num_rows: Any = 1) -> tf.Tensor:
    """Dequantization noise `[num_rows, H, W, C]` of batch `index` under `seed`."""
    return model.passes.noise(MOMENTS, seed, index, rows=(num_rows,))


def moves_moments(model: ImageDensity) -> bool:
    """Whether a network of the flow has moving averages: one that has none says so."""
    networks = getattr(model, "networks", ())
    return any(getattr(network, "moves_moments", True) for network in networks)


def recalibrate_after_fit(
    model: ImageDensity,
    batches: Iterable[Any],
    strategy: tf.distribute.Strategy,
    verbose: bool = True,
) -> None:
    """`recalibrate` over batches as `keras.Model.fit` takes them, at most the first 100.

    One that is smaller than the first is left out: its moments would weigh too much.

    Args:
        strategy: of the model, which knows the pieces of a batch that replicas have.
    """
    whole = _whole_batches(batches, strategy)
    _average_moments(model, whole, model.config.seed, None, verbose)


def require_batches(name: str, x: Any) -> None:
    """Raises `ConfigError` unless `x` is something that `fit` can take batches of images from."""
    is_one_thing = isinstance(x, str | bytes | list | tuple | Mapping)  # Several inputs, to Keras.
    gives = isinstance(x, keras.utils.PyDataset) or (hasattr(x, "__iter__") and not is_one_thing)
    require(gives, name, "uint8 images [N, H, W, C], or a set of batches of them", type(x).__name__)


def batches_again(asked: Mapping[str, Any]) -> tuple[Any, Callable[[], Iterable], bool]:
    """What `fit` is to train on, a function that gives its batches once more, and whether to show bars.

    Of what can be gone through but once, a generator, the last batches are remembered as they pass.

    Args:
        asked: the arguments of `keras.Model.fit`, by name.
    """
    x, is_shown = asked["x"], asked["verbose"] in ("auto", 1)
    if isinstance(x, np.ndarray) or keras.ops.is_tensor(x):
        return x, lambda: _of_array(asked), is_shown
    return *_batches_again(x), is_shown


def _batches_again(x: Any) -> tuple[Any, Callable[[], Iterable]]:
    if isinstance(x, keras.utils.PyDataset):
        return x, lambda: (x[index] for index in range(x.num_batches or _MAX_BATCHES))
    if isinstance(x, Iterator):
        passed: collections.deque = collections.deque(maxlen=_MAX_BATCHES)

        def remembering():
            for batch in x:
                passed.append(batch)
                yield batch

        return remembering(), lambda: list(passed)
    return x, lambda: x


def _of_array(asked: Mapping[str, Any]) -> Iterator[np.ndarray]:
    images, batch_size = np.asarray(asked["x"]), asked["batch_size"] or 32  # As Keras has it.
    order = np.arange(int(len(images) * (1 - asked["validation_split"])))
    if asked["shuffle"]:  # Neighbours may be alike.
        order = np.random.default_rng(0).permutation(order)
    for start in range(0, len(order), batch_size):
        yield images[order[start : start + batch_size]]


def _whole_batches(batches: Iterable[Any], strategy: tf.distribute.Strategy) -> Iterator[tf.Tensor]:
    """The images alone of batches as `fit` takes them; none that is smaller than the first."""
    whole = 0
    for taken, batch in enumerate(batches):
        if taken == _MAX_BATCHES:
            return
        images = batch[0] if isinstance(batch, tuple | list) else batch
        if isinstance(images, tf.distribute.DistributedValues):
            images = tf.concat(strategy.experimental_local_results(images), 0)
        whole = whole or len(images)
        if len(images) == whole:
            yield tf.convert_to_tensor(images)


def _average_moments(
    model: ImageDensity, batches: Iterable, seed: int, num_batches: int | None, verbose: bool
) -> None:
    if not moves_moments(model):
        return
    bar = keras.utils.Progbar(num_batches, unit_name="batch", verbose=int(verbose))
    seen = 0
    for batch in batches:
        model.passes.take_moments(batch, tf.constant(seed), tf.constant(seen))
        seen += 1
        bar.update(seen)
    if num_batches is None and seen:
        bar.update(seen, finalize=True)
