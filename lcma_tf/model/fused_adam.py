"""Adam in one kernel a variable, with gradients clipped as one device would clip them."""

from __future__ import annotations

import keras
import tensorflow as tf

from lcma_tf.replicas import num_replicas

__all__ = ["FusedAdam"]


@keras.saving.register_keras_serializable("lcma_tf")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, differing from it in five things.

    The update of a variable is TensorFlow's own Adam kernel instead of some forty ops: for a flow with
    hundreds of variables that is a third of the training graph, and of the time to its first step.

    Under several replicas Keras clips what each replica has got and sums afterwards, which is another
    step than one device would take. Here gradients are summed first, and `global_clipnorm` and the like
    act on the gradient of the global batch.

    A gradient whose global norm is not finite is taken for zero, instead of turning every weight into
    NaN: what is wrong stays where it began, and `first_non_finite` tells the step.

    With `use_ema` the averages (`averages`) reach back no further than a tenth of the steps: step t,
    from 0, has the momentum `min(ema_momentum, t / (t + 10))`. With the constant one of Keras half of an
    average of momentum 0.999 would still be the first weights after 700 steps.

    With `first_step` it may take over where another has been: the learning rate's schedule and the count
    of steps go on from there, while moments and averages, which begin anew, are corrected for their bias
    as in the first steps. Otherwise moments of zero would be taken for those of a long training, and
    steps be several times too long.

    Args: those of `keras.optimizers.Adam`, without `amsgrad`; and

        first_step: `iterations` at which its moments are zero; whoever sets it sets `iterations`, too.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        first_step: int = 0,
        **kwargs,
    ):
        if kwargs.pop("amsgrad", False):
            raise ValueError("`amsgrad` must be False: the kernel has no such form; got True.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.first_step = int(first_step)

    def get_config(self):
        return {**super().get_config(), "first_step": self.first_step}

    def build(self, variables):
        super().build(variables)
        # (Step, index of the variable), or zeros. Each replica keeps its own and all are the same; it
        # is no part of the state: not for Keras' or TensorFlow's trackers to see.
        with tf.init_scope():
            non_finite = tf.Variable(
                tf.zeros([2], tf.int64),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name="non_finite",
            )
        object.__setattr__(self, "_non_finite", non_finite)

    def first_non_finite(self) -> tuple[int, keras.Variable] | None:
        """The first step since `build` whose gradient was not finite, and in which variable it began."""
        step, index = self._non_finite.numpy() if self.built else (0, 0)
        return (int(step), self._trainable_variables[index]) if step else None

    def averages(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Each trained variable with the average of its values; for `use_ema` alone, once built."""
        averages = self._model_variables_moving_average
        return list(zip(self._trainable_variables, averages, strict=True))

    def _update_model_variables_moving_average(self, trainable_variables):
        step = tf.cast(tf.convert_to_tensor(self.iterations) - self.first_step, tf.float64)
        momentum = tf.minimum(tf.constant(self.ema_momentum, tf.float64), step / (step + 10))
        moves = {
            dtype: tf.cast(1 - momentum, dtype)
            for dtype in {variable.dtype for variable in trainable_variables}
        }
        for variable, average in self.averages():
            # Three ops, where Keras has seven. Each replica moves its own, and all are the same.
            average.value.assign_sub((average.value - variable.value) * moves[variable.dtype])

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        # Once for all variables of a type, not once for each. They belong to the graph that is traced
        # now: not for Keras' or TensorFlow's trackers to see, nor to be there later. Not in `apply`,
        # of which replicas run a part each by turns, and would take them from one another.
        step = tf.convert_to_tensor(self.iterations) + 1 - self.first_step
        rate = tf.convert_to_tensor(learning_rate)
        dtypes = {tf.as_dtype(variable.dtype) for _, variable in grads_and_vars}
        shared = {dtype: self._shared(step, rate, dtype) for dtype in dtypes}
        object.__setattr__(self, "_of_step", shared)
        try:
            super()._distributed_tf_update_step(distribution, grads_and_vars, learning_rate)
        finally:
            object.__delattr__(self, "_of_step")

    def _shared(self, step, rate, dtype):
        """What the kernels of all variables of a type are told alike."""
        beta1, beta2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        step = tf.cast(step, dtype)
        return {
            "beta1_power": beta1**step,
            "beta2_power": beta2**step,
            "lr": tf.cast(rate, dtype),
            "beta1": beta1,
            "beta2": beta2,
            "epsilon": tf.constant(self.epsilon, dtype),
        }

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        dtype = tf.as_dtype(variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=tf.cast(gradient, dtype),
            **self._of_step[dtype],
        )

    # The base class clips, then reduces; these two swap the order.

    def _clip_gradients(self, grads):
        if num_replicas() > 1:
            context = tf.distribute.get_replica_context()
            grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        # TensorFlow's own norm reads each gradient once; Keras' writes its squares first.
        half_squares = tf.stack([tf.nn.l2_loss(grad) for grad in grads])
        norm = tf.sqrt(2 * tf.reduce_sum(half_squares))
        self._look_for_non_finite(half_squares, norm)
        scale = tf.ones_like(norm)
        if self.global_clipnorm:
            scale = self.global_clipnorm * tf.minimum(1 / norm, 1 / self.global_clipnorm)
        # By a multiplication for which 0 times NaN is 0.
        scale = tf.where(tf.math.is_finite(norm), scale, 0)
        grads = [tf.math.multiply_no_nan(grad, scale) for grad in grads]
        return grads if self.global_clipnorm else super()._clip_gradients(grads)

    def _look_for_non_finite(self, half_squares, norm):
        """Remembers the first step whose gradient is not finite, and in which variable it began."""
        bad = tf.logical_not(tf.math.is_finite(half_squares))
        # Backwards from the latents to the data: the last variable is where it began; or, where it is
        # only the sum that overflows, the one that weighs most.
        last = tf.size(bad) - 1 - tf.argmax(tf.reverse(bad, [0]), output_type=tf.int32)
        worst = tf.argmax(half_squares, output_type=tf.int32)
        index = tf.cast(tf.where(tf.reduce_any(bad), last, worst), tf.int64)
        step = tf.cast(self.iterations, tf.int64) + 1
        is_known = tf.logical_or(tf.math.is_finite(norm), self._non_finite[0] > 0)
        self._non_finite.assign(tf.where(is_known, self._non_finite, tf.stack([step, index])))

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # Done before clipping.
