"""`FlowModel`: one trained object that is a Keras model and a TFP distribution."""

from __future__ import annotations

import inspect
import math

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.bijectors import PassOptions
from lcma_tf.config import FlowConfig, require_kind
from lcma_tf.factorization import Factorization
from lcma_tf.flows import flow_builder
from lcma_tf.flows.dequantization import dequantization_networks, make_dequantization
from lcma_tf.model.bits_per_dim import BitsPerDim, NegativeLogLikelihood
from lcma_tf.model.density import ImageDensity
from lcma_tf.model.dtypes import check_mixed_precision, checked_dtype, floatx
from lcma_tf.model.frozen_flow import FrozenFlow
from lcma_tf.model.no_saved_model import NoSavedModel
from lcma_tf.model.noise import SCORE, TRAIN
from lcma_tf.model.passes import FlowPasses
from lcma_tf.model.penalties import penalties
from lcma_tf.model.recalibration import batches_again, recalibrate_after_fit, require_batches
from lcma_tf.replicas import at_least_one_row, num_replicas, replica_rows

__all__ = ["FlowModel"]


@keras.saving.register_keras_serializable("lcma_tf")
class FlowModel(ImageDensity, NoSavedModel, keras.Model):
    """An exact-likelihood image model: a flow, its pixel transform and a standard normal base.

    As a Keras model it is compiled with `NegativeLogLikelihood`, fitted on batches of uint8 images (no
    labels), saved and loaded whole. As a TFP citizen it offers `distribution`. All variables belong to
    the model; the bijector sees the same ones.

    Scores, samples and latents: the methods of `ImageDensity`.

    Args:
        config: what the flow is.
        factorization: what leaves it where; None = nothing does (rule `none`).
        dtype: `float32` or `float64`; None = `float32`, whatever `keras.config.floatx()` says.
        rematerialize: training keeps no activations inside the conditioners but computes them anew in
            the backward pass: less memory, longer steps, the same gradients. Not saved.

    Raises:
        ConfigError: `config.mixed_precision` with another `dtype`.
        FactorizationError: `factorization` was made for another shape or number of scales.

    Example:
        ```python
        import numpy as np

        import lcma_tf

        images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
        config = lcma_tf.FlowConfig((8, 8, 1), num_scales=1, base_dim=4, num_residual_blocks=1)
        model = lcma_tf.FlowModel(config)
        model.compile("adam", loss=lcma_tf.NegativeLogLikelihood(), jit_compile=False)
        model.fit(images, batch_size=16, verbose=0)
        bits = model.bits_per_dim(images[:8])  # [8]
        ```
    """

    def __init__(
        self,
        config: FlowConfig,
        factorization: Factorization | None = None,
        dtype: str | None = None,
        name: str = "flow_model",
        rematerialize: bool = False,
    ):
        require_kind("config", config, FlowConfig)
        require_kind("factorization", factorization, Factorization, or_none=True)
        dtype = checked_dtype(dtype, config.mixed_precision)
        super().__init__(name=name, dtype=dtype)
        self.factorization = factorization or Factorization("none", config.image_shape)
        builder = flow_builder(config, self.factorization)
        networks = builder.make_networks(dtype, rematerialize)
        networks |= dequantization_networks(config, dtype, rematerialize)
        self._network_names = tuple(networks)
        self.networks = list(networks.values())  # Keras saves them by their places in this list.
        dequantization = make_dequantization(config, networks)
        self.ask(FlowPasses(config, builder.make_bijector(networks), dtype, dequantization))
        layers = [f"layer_{layer}" for layer in range(1, config.num_scales + 1)]
        self.part_names = ("latent", *layers, "pixel")
        self.breakdown = BitsPerDim(self.part_names, config.num_dimensions)
        # How often it was called to train, which the noise of the next time depends on. Saved with the
        # weights, so that a program that goes on draws what it would have drawn.
        self.training_calls = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="training_calls",
        )
        self.built = True

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained; moving moments and the optimizer's state are not counted."""
        return sum(math.prod(variable.shape) for variable in self.trainable_variables)

    def frozen(
        self,
        mixed_precision: bool = False,
        batch_invariant: bool = False,
        pieces: int | None = None,
    ) -> FrozenFlow:
        """A faster copy to score and sample with: a snapshot, the weights of now folded.

        Args:
            mixed_precision: bfloat16 inside the conditioners, for a model of float32: see `FrozenFlow`.
            batch_invariant: one image at a time, so that a score has the same bits in every batch.
            pieces: of a batch, computed at once; None = as suits the threads of this process.
        """
        dtype = self.compute_dtype
        check_mixed_precision(mixed_precision, dtype)
        networks = dict(zip(self._network_names, self.networks, strict=True))
        return FrozenFlow(
            self.config,
            self.factorization,
            dtype,
            networks,
            mixed_precision=mixed_precision,
            batch_invariant=batch_invariant,
            pieces=pieces,
        )

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):  # pyright: ignore[reportIncompatibleMethodOverride]
        """As `keras.Model.compile`, but in the model's dtype: the 16-bit ones of Keras end below nats.

        Args:
            loss: a `NegativeLogLikelihood`; None = one. Any other is a ValueError: there are no labels.
        """
        loss = NegativeLogLikelihood() if loss is None else loss
        if not isinstance(loss, NegativeLogLikelihood):
            rule = "`loss` must be a lcma_tf.NegativeLogLikelihood, since a flow has no labels"
            raise ValueError(f"{rule}; got {loss!r}.")
        with floatx(self.compute_dtype):
            super().compile(optimizer, loss=loss, **kwargs)

    def compile_from_config(self, config):
        # Keras does not call a `compile` that is not its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, *args, recalibrate: bool = True, **kwargs):  # pyright: ignore[reportIncompatibleMethodOverride]
        """As `keras.Model.fit`, but it ends with batch-norm statistics that belong to the weights.

        Training leaves averages that lag behind them, with which a flow scores wrongly. So after all
        callbacks up to 100 of the batches of `x` are gone through once more with the weights fixed
        (`lcma_tf.recalibrate`). `validation_data` are still scored with the lagging averages.

        Args:
            x: uint8 images `[N, H, W, C]`, or batches of them, as Keras takes them; no labels.
            recalibrate: False leaves the moving averages as they are.
        """
        if isinstance(x, np.ndarray) or keras.ops.is_tensor(x):
            self.passes.of_event_shape("images", tf.TensorSpec(x.shape))
            self.checked_images(x[:0])
        else:
            require_batches("x", x)
        if not recalibrate:
            return super().fit(x, *args, **kwargs)
        asked = inspect.signature(keras.Model.fit).bind(self, x, *args, **kwargs)
        asked.apply_defaults()
        x, again, verbose = batches_again(asked.arguments)
        calls = int(np.asarray(self.training_calls))
        history = super().fit(x, *args, **kwargs)
        if int(np.asarray(self.training_calls)) > calls:
            recalibrate_after_fit(self, again(), self.distribute_strategy, verbose)
        return history

    def call(self, images, training=False):
        """Returns the parts of `log p(images)`, nats `[N, K + 2]`: see `part_names`. They add up to it.

        With `training=True` batch norms use and move batch moments, and the dequantization noise is
        that of (config.seed, step), row by row of the global batch: the same on any number of replicas.
        The step is the number of calls with `training=True` before this one, in a program of your own as
        in `fit`. Otherwise the noise is that of seed 0, the same for every image.
        """
        images = self.checked_images(images)
        noise = self._training_noise(images) if training else self.passes.noise(SCORE, 0, 0)
        if num_replicas() == 1:
            if training or self.jit_compile:  # XLA cannot run pieces of a batch.
                return self.log_prob_parts(images, noise, training=training)
            return self.scored_parts(images, noise)
        num_rows = tf.shape(images)[0]
        options: PassOptions = {}
        if training:
            noise = at_least_one_row(noise)
            options = {"training": True, "weight": tf.cast(num_rows > 0, self.compute_dtype)}
        return self.log_prob_parts(at_least_one_row(images), noise, **options)[:num_rows]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # pyright: ignore[reportIncompatibleMethodOverride]
        # A density model has no labels; Keras asks for some before it calls a loss.
        y = y_pred if y is None else y
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _get_regularization_losses(self):
        # Keras' own, of one loss for each weight, are a sixth of the ops of a small flow's step.
        return penalties(self.trainable_variables)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.breakdown.update_state(y_pred)
        return super().compute_metrics(x, y_pred if y is None else y, y_pred, sample_weight)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Under several replicas Keras takes the first batch out of the data, so that training would
        # begin with the second, and calls the model on its mean over the replicas, which is no uint8
        # image. Everything but the optimizer is built already.
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def load_own_variables(self, store):
        if not store.keys():  # Saved before calls were counted.
            self.training_calls.assign(0)
            return
        super().load_own_variables(store)

    def get_config(self):
        return {
            "config": self.config.to_dict(),
            "factorization": self.factorization.to_dict(),
            "dtype": self.compute_dtype,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        flow = FlowConfig.from_dict(config["config"])
        factorization = Factorization.from_dict(config["factorization"])
        return cls(flow, factorization, config["dtype"], config["name"])

    def _training_noise(self, images) -> tf.Tensor:
        calls = self.training_calls.value  # The tf.Variable.
        step = tf.convert_to_tensor(calls)
        if getattr(self, "optimizer", None) is not None:
            # Ahead where weights were restored that were saved without the count.
            step = tf.maximum(step, tf.cast(self.optimizer.iterations, step.dtype))
        calls.assign(step + 1)
        num_rows = tf.shape(images)[0]
        all_rows, first = replica_rows(num_rows)
        noise = self.passes.noise(TRAIN, self.config.seed, step, rows=(all_rows,))
        return noise[first : first + num_rows]
