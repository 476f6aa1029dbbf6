"""What a finished run tells its user, whether it has just ended or is called again."""

from __future__ import annotations

from typing import Any

from lcma_tf.experiment.workdir import Workdir
from lcma_tf.files.paths import printable
from lcma_tf.say import say

__all__ = ["print_result"]


def print_result(metrics: dict[str, Any], workdir: Workdir) -> None:
    """Says the bits/dim of a run, beside those of lossless codecs, and where its pictures are.

    Args:
        metrics: what is in `metrics.json`.
        workdir: of the run.
    """
    error = metrics.get("test_bits_per_dim_standard_error")
    within = "" if error is None else f" +- {error:.4f}"
    say(
        f"result of rule '{metrics['split_rule']}', seed {metrics['seed']}: "
        f"test {metrics['test_bits_per_dim']:.4f}{within} bits/dim "
        f"({metrics['test_images']:,} images), validation {metrics['validation_bits_per_dim']:.4f}"
    )
    codecs = [
        f"{name} {metrics[key]:.4f}"
        for name, key in (("PNG", "png_bits_per_dim"), ("WebP", "webp_bits_per_dim"))
        if metrics.get(key) is not None
    ]
    if codecs:
        say(f"lossless codecs on the test images: {', '.join(codecs)} bits/dim")
    pictures = sorted(path.name for path in workdir.path.glob("*.png"))
    if pictures:
        say(f"pictures in {printable(workdir.path)}: {', '.join(map(printable, pictures))}")
