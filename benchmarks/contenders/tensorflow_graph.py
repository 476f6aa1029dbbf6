"""What the TensorFlow contenders share: threads, the device, and counting in a traced graph."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from benchmarks.architecture import BenchmarkConfig

__all__ = ["count_conv_flops", "count_ops", "prepare"]


def prepare(config: BenchmarkConfig) -> None:
    """Before anything else runs.

    Raises:
        RuntimeError: TensorFlow does not see the device that is asked for.
    """
    if config.device == "cuda" and not tf.config.list_physical_devices("GPU"):
        raise RuntimeError(
            "`device` must be one that TensorFlow sees; got 'cuda', and it sees no GPU."
        )
    tf.config.threading.set_intra_op_parallelism_threads(config.threads)
    tf.config.threading.set_inter_op_parallelism_threads(config.threads)


def count_ops(graph: tf.Graph) -> int:
    """Nodes of a graph and of every function that it calls, each function once."""
    definition = graph.as_graph_def()
    functions = {f.signature.name: f.node_def for f in definition.library.function}
    total, seen, waiting = 0, set(), [definition.node]
    while waiting:
        nodes = waiting.pop()
        total += len(nodes)
        for name in _called(nodes):
            if name in functions and name not in seen:
                seen.add(name)
                waiting.append(functions[name])
    return total


def _called(nodes) -> Iterator[str]:
    for node in nodes:
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func.name
            yield from (function.name for function in value.list.func)


def count_conv_flops(function: tf.types.experimental.GenericFunction, *arguments) -> int:
    """Of the convolutions in the graph of `function`, traced for one image of static shape."""
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    return sum(_conv_flops(graph))


def _conv_flops(graph) -> Iterator[int]:
    for operation in graph.get_operations():
        if operation.type == "Conv2D":
            kernel, output = operation.inputs[1].shape, operation.outputs[0].shape
            yield 2 * output.num_elements() * kernel[0] * kernel[1] * kernel[2]
