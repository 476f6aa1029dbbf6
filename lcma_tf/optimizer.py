"""Adam in one kernel a variable, with gradients clipped as one device would clip them."""

from __future__ import annotations

import keras
import tensorflow as tf

from lcma_tf.replicas import num_replicas

__all__ = ["FusedAdam"]


@keras.saving.register_keras_serializable("lcma_tf")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, differing from it in two things.

    The update of a variable is TensorFlow's own Adam kernel instead of some forty ops: for a flow with
    hundreds of variables that is a third of the training graph, and of the time to its first step.

    Under several replicas Keras clips what each replica has got and sums afterwards, which is another
    step than one device would take. Here gradients are summed first, and `global_clipnorm` and the like
    act on the gradient of the global batch.

    Args: those of `keras.optimizers.Adam`, without `amsgrad`.
    """

    def __init__(self, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, **kwargs):
        if kwargs.pop("amsgrad", False):
            raise ValueError("`amsgrad` must be False: the kernel has no such form; got True.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)

    def apply(self, grads, trainable_variables=None):
        # Once for all variables of a type, not once for each. They belong to the graph that is traced
        # now: not for Keras' or TensorFlow's trackers to see, nor to be there afterwards.
        step = tf.convert_to_tensor(self.iterations) + 1
        variables = trainable_variables or self._trainable_variables
        dtypes = {tf.as_dtype(variable.dtype) for variable in variables}
        object.__setattr__(
            self, "_powers", {dtype: self._powers_of(step, dtype) for dtype in dtypes}
        )
        try:
            super().apply(grads, trainable_variables)
        finally:
            object.__delattr__(self, "_powers")

    def _powers_of(self, step, dtype):
        step = tf.cast(step, dtype)
        return tuple(tf.constant(beta, dtype) ** step for beta in (self.beta_1, self.beta_2))

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        dtype = tf.as_dtype(variable.dtype)
        beta1_power, beta2_power = self._powers[dtype]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta1_power,
            beta2_power=beta2_power,
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

    # The base class clips, then reduces; these two swap the order.

    def _clip_gradients(self, grads):
        if num_replicas() > 1:
            context = tf.distribute.get_replica_context()
            grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        if self.global_clipnorm:
            # TensorFlow's own norm reads each gradient once; Keras' writes its squares first.
            return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]
        return super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # Done before clipping.
