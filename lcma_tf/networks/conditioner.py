"""The residual network of the original RealNVP couplings, on few and plain TensorFlow ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.moving_averages import move_averages
from lcma_tf.networks.folding import FrozenConditioner
from lcma_tf.networks.parameters import beside, split_parameters
from lcma_tf.networks.rematerialization import rematerialized
from lcma_tf.networks.residual_pass import BatchNorms, MovingNorms, ResidualWeights, residual_pass

__all__ = ["ResidualConditioner"]


@keras.saving.register_keras_serializable("lcma_tf")
class ResidualConditioner(keras.layers.Layer):
    """From what a coupling keeps to the shift and log-scale of what it changes.

    Input -> batch norm (doubled where `pixel_mask` is given: half of its input is zeros) ->
    concat(x, -x) and the mask -> relu -> 3x3 conv -> `num_residual_blocks` pre-activation blocks (batch
    norm, relu, 3x3 conv, batch norm, relu, 3x3 conv, add). The first conv's output and every block's
    pass a 1x1 conv into one sum -> batch norm, relu -> 1x1 conv -> (shift, raw);
    `log_scale = scale * tanh(raw)` with one learned scalar `scale`. Where there are more
    parameters than two, the last conv says them, too, with magnitudes that begin at 0, beside the shifts
    and log-scales of a network without them.

    All convolutions are weight-normalized over (height, width, input channels); block outputs, skips
    and the last conv have a learned magnitude; all but the first conv of a block have a bias. Batch
    norms have a trained beta and no gamma. `training=True` uses the moments of the batch and moves the
    moving ones by `momentum`; otherwise the moving ones are used.

    Weights of like layers are *stacked* in one variable (all 3x3 kernels of the blocks, all betas, ...),
    so that weight normalization, gradient clipping and Adam are a few large ops instead of hundreds of
    small ones: 18 variables a network whatever its depth.

    Source: Dinh et al. 2016, sections 3.3, 3.7 and 4.1, and its program's constants.

    Args:
        in_channels: channels of the input.
        out_channels: channels of shift and of log_scale.
        width: channels inside.
        num_residual_blocks: at least 1.
        pixel_mask: bool `[h, w, m]` appended to the input, for couplings that mask pixels; or None.
        initial_scale: first value of `scale`.
        num_parameters: numbers said of each output channel, at least 2: shift, log_scale, and those of
            a curve (`lcma_tf.bijectors.CurvedCoupling`).
        magnitude_l2: L2 coefficient (no 1/2) on the magnitudes, and on `scale` where a pixel mask is
            given, as in the program; reaches the loss through Keras.
        seed: of the initial weights.
        mixed_precision: with `training=True`, feature maps and convolutions in bfloat16; weights, their
            normalization, moments, input and output stay float32, and so does all of inference.
        rematerialize: compute what is inside anew in the backward pass of training instead of keeping
            it. A matter of the machine, not of the layer: not in its config.

    Call arguments:
        kept: `[N, h, w, in_channels]`.
        training: Python bool.
        momentum: of the moving moments.
        weight: 0 where the batch of this replica does not count in the moments; None = it does.

    Output: (shift, log_scale), each `[N, h, w, out_channels]`; with more parameters (shift, log_scale,
    curve), the last `[N, h, w, out_channels, num_parameters - 2]`.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        network = lcma_tf.networks.ResidualConditioner(
            in_channels=6, out_channels=6, width=8, num_residual_blocks=1
        )
        shift, log_scale = network(tf.zeros([5, 4, 4, 6]))
        assert shift.shape == log_scale.shape == (5, 4, 4, 6)
        ```
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        num_residual_blocks: int,
        *,
        pixel_mask: np.ndarray | None = None,
        initial_scale: float = 1.0,
        magnitude_l2: float = 5e-5,
        seed: int | Sequence[int] = 0,
        mixed_precision: bool = False,
        rematerialize: bool = False,
        num_parameters: int = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.width = width
        self.num_residual_blocks = num_residual_blocks
        self.pixel_mask = None if pixel_mask is None else np.asarray(pixel_mask, bool)
        self.initial_scale = initial_scale
        self.magnitude_l2 = magnitude_l2
        self.seed = seed
        self.mixed_precision = mixed_precision
        self.rematerialize = rematerialize
        self.num_parameters = num_parameters
        mask_channels = 0 if self.pixel_mask is None else self.pixel_mask.shape[-1]
        seeds = np.random.SeedSequence(seed).generate_state(4)
        blocks, convs = num_residual_blocks, 2 * num_residual_blocks

        self.scale = self._add(
            "scale",
            (),
            keras.initializers.Constant(initial_scale),
            regularized=self.pixel_mask is not None,
        )
        self.input_moments = self._add_moments("input", (in_channels,))
        self.input_beta = self._add("input_beta", (in_channels,))
        self.input_kernel = self._add_kernel(
            "input_kernel", (3, 3, 2 * in_channels + mask_channels, width), seeds[0]
        )
        self.input_bias = self._add("input_bias", (width,))
        # One batch norm before each conv of the blocks, and one before the last conv.
        self.moments = self._add_moments("hidden", (convs + 1, width))
        self.beta = self._add("beta", (convs + 1, width))
        self.block_kernels = self._add_kernel(
            "block_kernels", (convs, 3, 3, width, width), seeds[1]
        )
        self.block_magnitude = self._add_magnitude("block_magnitude", (blocks, width), 9)
        self.block_bias = self._add("block_bias", (blocks, width))
        self.skip_kernels = self._add_kernel(
            "skip_kernels", (blocks + 1, 1, 1, width, width), seeds[2]
        )
        self.skip_magnitude = self._add_magnitude("skip_magnitude", (blocks + 1, width), 1)
        self.skip_bias = self._add("skip_bias", (blocks + 1, width))
        affine, outputs = 2 * out_channels, num_parameters * out_channels
        self.output_kernel = self._add_kernel(
            "output_kernel", (1, 1, width, outputs), seeds[3], affine
        )
        self.output_magnitude = self._add_magnitude("output_magnitude", (outputs,), 1, affine)
        self.output_bias = self._add("output_bias", (outputs,))
        self.built = True

    def call(self, kept, training=False, momentum=0.9, weight=None):
        weights = [tf.convert_to_tensor(getattr(self, name)) for name in ResidualWeights._fields]
        if not training:
            weights = ResidualWeights(*weights)
            norms = MovingNorms(weights, self.input_moments, self.moments)
            return self._parameters(
                residual_pass(kept, weights, norms, self.pixel_mask, mixed_precision=False)
            )
        run = rematerialized if self.rematerialize else _kept
        inputs = [kept, *weights] if weight is None else [kept, *weights, weight]
        output, moments = run(self._training_pass, inputs)
        self._move(moments, momentum)
        return self._parameters(output)

    def frozen(self, mixed_precision: bool = False) -> FrozenConditioner:
        """The same function in inference mode, with the weights of now, folded."""
        return FrozenConditioner(self, mixed_precision)

    def _training_pass(self, kept, *inputs):
        """A function of its arguments alone, as it may run again in the backward pass."""
        num_weights = len(ResidualWeights._fields)
        weights = ResidualWeights(*inputs[:num_weights])
        norms = BatchNorms(weights, *inputs[num_weights:])
        output = residual_pass(kept, weights, norms, self.pixel_mask, self.mixed_precision)
        return output, norms.moments()

    def _parameters(self, output):
        shift, raw, *curve = split_parameters(output, self.num_parameters)
        return shift, self.scale * tf.tanh(raw), *curve

    def _move(self, moments, momentum):
        variables = (*self.input_moments, *self.moments)
        # The tf.Variables: Keras' own have no relative assignment.
        move_averages([variable.value for variable in variables], moments, momentum)

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: str | Callable[..., tf.Tensor] = "zeros",
        regularized: bool = False,
    ):
        l2 = keras.regularizers.L2(self.magnitude_l2) if regularized and self.magnitude_l2 else None
        return self.add_weight(shape=shape, initializer=initializer, regularizer=l2, name=name)

    def _add_kernel(self, name, shape, seed, affine=None):
        limit = float(np.sqrt(2.0 / shape[-2]))
        uniform = keras.initializers.RandomUniform(-limit, limit, seed=int(seed))
        return self._add(name, shape, beside(uniform, affine or shape[-1], uniform))

    def _add_magnitude(self, name, shape, kernel_size, affine=None):
        value = keras.initializers.Constant(float(np.sqrt(kernel_size / 6)))
        value = beside(value, affine or shape[-1], keras.initializers.Zeros())
        return self._add(name, shape, value, regularized=True)

    def _add_moments(self, name, shape):
        return tuple(
            self.add_weight(
                shape=shape,
                initializer=initializer,
                trainable=False,
                aggregation="mean",
                name=f"{name}_{moment}",
            )
            for moment, initializer in (("mean", "zeros"), ("variance", "ones"))
        )

    def get_config(self):
        mask = self.pixel_mask
        return {
            **super().get_config(),
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "num_residual_blocks": self.num_residual_blocks,
            "pixel_mask": None if mask is None else mask.astype(int).tolist(),
            "initial_scale": self.initial_scale,
            "magnitude_l2": self.magnitude_l2,
            "seed": self.seed,
            "mixed_precision": self.mixed_precision,
            "num_parameters": self.num_parameters,
        }


def _kept(function, inputs):
    return function(*inputs)
