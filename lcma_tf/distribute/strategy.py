"""Which devices train together, and what the machine may do that the result does not depend on."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from lcma_tf.config import ConfigError, TrainConfig, require_ints, set_plain_values
from lcma_tf.distribute.workers import Cluster, Workers
from lcma_tf.say import say

__all__ = ["Runtime", "RuntimeConfig", "make_strategy", "set_intra_op_threads"]


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """Choices that change speed but, up to rounding, not results; a run may be resumed with others.

    Args:
        num_devices: devices of each host that share each batch; None = all visible GPUs, or one CPU.
        steps_per_execution: training steps for each call from Python; a divisor of what is between
            two validations, since Keras does not cut a call short.
        jit_compile: compile the training step with XLA; the noise then is another draw of the same kind.
        rematerialize: compute activations inside the conditioners anew in the backward pass instead of
            keeping them: less memory, longer steps.
        intra_op_threads: threads that one operation may use on a CPU; None = TensorFlow's choice, all
            of them. With 1 those that do not wait for each other still run at the same time, and batches
            are scored in pieces at once (`lcma_tf.model.pieces`), which for small flows was the faster
            way on two processors (docs/performance.md).

    Example:
        ```python
        import lcma_tf

        quick = lcma_tf.RuntimeConfig(num_devices=1, steps_per_execution=10)
        quick.check_divides("the validation every 100 steps", 100)
        ```
    """

    num_devices: int | None = None
    steps_per_execution: int = 1
    jit_compile: bool = False
    rematerialize: bool = False
    intra_op_threads: int | None = None

    def __post_init__(self):
        set_plain_values(self)
        require_ints(self, 1, "steps_per_execution")
        for name in ("num_devices", "intra_op_threads"):
            if getattr(self, name) is not None:
                require_ints(self, 1, name)

    def check_fits(self, config: TrainConfig) -> None:
        """Raises `ConfigError` if a run of `config` would take steps that it was not asked for."""
        is_one_run = config.factorize_at_step is not None
        for name in ("factorize_at_step" if is_one_run else "pretrain_steps", "train_steps"):
            steps = getattr(config, name)
            per_epoch = min(config.steps_per_epoch, steps)
            if steps % self.steps_per_execution or per_epoch % self.steps_per_execution:
                raise ConfigError(
                    f"`steps_per_execution` must divide {name}={steps} and "
                    f"steps_per_epoch={config.steps_per_epoch}; got {self.steps_per_execution}."
                )

    def check_divides(self, what: str, steps: int) -> None:
        """Raises `ConfigError` if `steps` cannot be done without going beyond them."""
        if steps % self.steps_per_execution:
            raise ConfigError(
                f"`steps_per_execution` must divide {what}, {steps}; got {self.steps_per_execution}."
            )


@dataclasses.dataclass(frozen=True)
class Runtime:
    """The devices and processes of a run, opened once, where it begins.

    Before its data are loaded: TensorFlow divides a CPU, and joins other workers, only before it is
    used for anything else.

    Args:
        config: what was asked for.
        strategy: over all replicas.
        workers: the processes that run together.
    """

    config: RuntimeConfig
    strategy: tf.distribute.Strategy
    workers: Workers

    @classmethod
    def open(cls, config: RuntimeConfig, batch_size: int) -> Runtime:
        """Opens what `config` asks for, for batches of `batch_size` images over all replicas.

        Raises:
            ConfigError: as `make_strategy`.
        """
        set_intra_op_threads(config.intra_op_threads)
        strategy = make_strategy(config.num_devices, batch_size)
        return cls(config, strategy, Workers(strategy))

    def check_batch_size(self, batch_size: int) -> None:
        """Raises `ConfigError` unless a batch is as large on every replica."""
        _check_divides(self.config.num_devices, self.strategy.num_replicas_in_sync, batch_size)


def set_intra_op_threads(count: int | None) -> None:
    """Gives each operation on a CPU `count` threads; None = as it is.

    Where TensorFlow runs already it keeps what it has, and that is said: only speed depends on it.
    """
    threading = tf.config.threading
    if count is None or threading.get_intra_op_parallelism_threads() == count:
        return
    try:
        threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:
        say(
            f"TensorFlow is in use already: intra_op_threads={count} comes too late, and is left out"
        )


def make_strategy(num_devices: int | None, batch_size: int) -> tf.distribute.Strategy:
    """One device: no distribution. Several: MirroredStrategy, each batch split evenly over them.

    Where `TF_CONFIG` lists several workers, MultiWorkerMirroredStrategy over the devices of all; the
    first call waits until they are there, and must come before TensorFlow is used.

    Without a GPU, `num_devices` logical CPU devices are made: no gain in speed, but the same code.

    Raises:
        ConfigError: fewer GPUs are visible, the devices do not divide `batch_size`, or `TF_CONFIG` is
            not as it must be.
    """
    gpus = tf.config.list_physical_devices("GPU")
    num_workers, asked = Cluster.from_environment().num_workers, num_devices
    if num_devices is None:
        num_devices = max(len(gpus), 1)
    if gpus and num_devices > len(gpus):
        raise ConfigError(
            f"`num_devices` must be at most the {len(gpus)} visible GPUs; got {num_devices}."
        )
    if num_workers > 1 and not gpus and num_devices > 1:
        raise ConfigError(
            f"`num_devices` must be 1 where several workers train on their CPUs; got {num_devices}."
        )
    _check_divides(asked, num_workers * num_devices, batch_size)
    if num_workers > 1:
        return _multi_worker(num_devices)
    if num_devices == 1:
        return tf.distribute.get_strategy()
    if not gpus:
        _make_logical_cpus(num_devices)
    return _mirrored("GPU" if gpus else "CPU", num_devices)


def _check_divides(num_devices: int | None, num_replicas: int, batch_size: int) -> None:
    """Raises `ConfigError` unless `batch_size` is; it names `num_devices` where one was asked for."""
    if batch_size % num_replicas == 0:
        return
    if num_devices is None or num_devices == 1:
        raise ConfigError(
            f"`batch_size` must be divisible by the number of devices, {num_replicas}; "
            f"got {batch_size}."
        )
    hosts = num_replicas // num_devices
    each = f" on each of {hosts} hosts" if hosts > 1 else ""
    raise ConfigError(
        f"`num_devices` must divide batch_size={batch_size}; got {num_devices}{each}."
    )


class _MultiWorkerStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """`MultiWorkerMirroredStrategy` as `fit` of Keras 3 needs it.

    Under several workers Keras asks for the mean over axis 0 of each value that it shows, though these
    are scalars, and every `fit` ends in its first step (https://github.com/keras-team/keras/issues/20585,
    seen with Keras 3.15.1). A scalar has no axis: its mean is the one over the replicas.
    """

    def reduce(self, reduce_op, value, axis):
        if axis == 0 and self.experimental_local_results(value)[0].shape.rank == 0:
            axis = None
        return super().reduce(reduce_op, value, axis)


@functools.cache
def _multi_worker(num_devices: int) -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy over all workers. One for the whole process: it starts this worker's server."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:  # It takes every GPU that it sees.
        tf.config.set_visible_devices(gpus[:num_devices], "GPU")
    try:
        return _MultiWorkerStrategy()
    except RuntimeError as error:
        raise ConfigError(
            "`TF_CONFIG` with several workers needs a process in which TensorFlow is not yet in use; "
            f"got {error}"
        ) from error


@functools.cache
def _mirrored(kind: str, num_devices: int) -> tf.distribute.MirroredStrategy:
    """The strategy over these devices. One for the whole process, whatever phases it runs.

    Two over the same devices give out the same keys for their collective ops, and the second fails on
    the shapes of the first.
    """
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(num_devices)])


def _make_logical_cpus(num_devices: int) -> None:
    # Asked of the configuration: to list the logical devices is to start TensorFlow with them.
    (cpu,) = tf.config.list_physical_devices("CPU")
    if len(tf.config.get_logical_device_configuration(cpu) or []) >= num_devices:
        return
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices
        )
    except RuntimeError as error:  # TensorFlow is running already, with fewer.
        raise ConfigError(
            "`num_devices` above 1 on CPUs must be asked for before TensorFlow is first used; "
            f"got {num_devices}."
        ) from error
