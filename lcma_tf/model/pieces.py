"""A batch in pieces at the same time, where each operation has but one thread.

Small networks gain nothing from several threads in one operation, and the operations of a flow wait for
each other: so the processors share the images. Scores are those of the pieces, which differ from those
of the whole batch as those of any two batch sizes do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import tensorflow as tf

__all__ = ["in_pieces", "num_pieces"]


def num_pieces() -> int:
    """Into how many pieces this process cuts a batch: 1, but where each operation has one thread.

    That is what `tf.config.threading.set_intra_op_parallelism_threads(1)` and `--intra_op_threads=1` ask
    for; then as many as operations can run at once.
    """
    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() != 1:
        return 1
    # As TensorFlow counts them where nobody has said how many.
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return threading.get_inter_op_parallelism_threads() or len(usable)


def in_pieces(
    function: Callable[..., tf.Tensor],
    shape: Sequence[int],
    dtype: str | tf.DType,
    count: int | None = None,
) -> Callable[..., tf.Tensor]:
    """Returns `function` with its first argument, a batch, cut into `count` pieces that run at once.

    For graphs; not for XLA, whose shapes are fixed. The last piece may be smaller, and of a batch of
    fewer rows there are fewer pieces. With one piece it is `function`.

    Args:
        function: `(batch [N, ...], *arguments) -> tensor [N, *shape]`, which treats rows independently.
        shape, dtype: of a row of the result.
        count: None = `num_pieces()` when the graph is made.
    """

    def of_pieces(batch, *arguments):
        most = count or num_pieces()
        if most == 1:
            return function(batch, *arguments)
        num_rows = tf.shape(batch)[0]
        size = tf.maximum(-(-num_rows // most), 1)
        pieces = -(-num_rows // size)

        def run(piece, results):
            rows = batch[piece * size : (piece + 1) * size]
            rows = tf.ensure_shape(rows, [None, *batch.shape[1:]])
            return piece + 1, results.write(piece, function(rows, *arguments))

        results = tf.TensorArray(dtype, pieces, infer_shape=False, element_shape=[None, *shape])
        _, results = tf.while_loop(
            lambda piece, _: piece < pieces, run, [0, results], parallel_iterations=most
        )
        return tf.ensure_shape(results.concat(), [None, *shape])

    return of_pieces
