"""Everything that is chosen by name: the one place that knows the names. Imports nothing of ours.

Each table maps a name, as configs, flags and files spell it, to what it stands for. An entry may be an
import string, `"module:name"`, that is followed when somebody uses it: so flags and configs know the
names without TensorFlow. A new choice is one file, and one line here:

    FLOWS["mine"] = "my_package.my_flow:MyFlow"      in this file, or before flags and configs are made
    FLOWS["mine"] = MyFlow                           the same, for a thing that is there already

What an entry must be is said where it is used: the comment of each table names the place.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

__all__ = [
    "COUPLINGS",
    "FLOWS",
    "FLOW_KINDS",
    "INPUTS",
    "OF_TABLES",
    "OPTIMIZERS",
    "PIXEL_TRANSFORMS",
    "RESAMPLERS",
    "RESIZES",
    "RULES",
    "SCORED_SOURCES",
    "SCORES",
    "SOURCES",
    "TABLES",
    "Choices",
]


class Choices(MutableMapping[str, Any]):
    """A table of choices by name; to list or to test names imports nothing.

    Args:
        entries: by name, the things themselves or import strings `"module:name"`.

    Raises:
        ValueError: an entry is a string of another form.
    """

    def __init__(self, entries: Mapping[str, Any]):
        self._entries: dict[str, Any] = {}
        self.update(entries)

    def __getitem__(self, name: str) -> Any:
        """What `name` stands for; an import string is followed."""
        entry = self._entries[name]
        if not isinstance(entry, str):
            return entry
        module, _, attribute = entry.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __setitem__(self, name: str, entry: Any) -> None:
        if isinstance(entry, str) and not all(entry.partition(":")):
            raise ValueError(
                f"An entry must be a thing or 'module:name'; got {entry!r} for {name!r}."
            )
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries  # Without following anything.

    def __repr__(self) -> str:
        return f"Choices({self._entries!r})"


# `FlowConfig.flow`: a `lcma_tf.flows.FlowBuilder`, made of a config and a factorization.
FLOWS = Choices(
    {
        "realnvp": "lcma_tf.flows.realnvp:RealNVPBuilder",
        "glow": "lcma_tf.flows.glow:GlowBuilder",
    }
)

# Of these flows, what a config must know of one before it is built: a
# `lcma_tf.config.flow_kinds.FlowKind`. A flow that is not here takes all images that can be halved at
# each split, and is said to read every field.
FLOW_KINDS = Choices(
    {
        "realnvp": "lcma_tf.config.flow_kinds:REALNVP",
        "glow": "lcma_tf.config.flow_kinds:GLOW",
    }
)

# `FlowConfig.coupling`: (mask, conditioner, name) -> an `ImageBijector`, with an attribute
# `num_parameters`: a subclass of `lcma_tf.bijectors.CurvedCoupling`, say.
COUPLINGS = Choices(
    {
        "affine": "lcma_tf.bijectors.coupling:AffineCoupling",
        "spline": "lcma_tf.bijectors.spline_coupling:SplineCoupling",
    }
)

# `FlowConfig.pixel_transform`: (alpha, event_shape) -> an `ImageBijector` whose data are pixels in
# [0, 256): see `lcma_tf.bijectors.pixel`.
PIXEL_TRANSFORMS = Choices(
    {
        "two_sided": "lcma_tf.bijectors.pixel:two_sided",
        "one_sided": "lcma_tf.bijectors.pixel:one_sided",
    }
)

# `TrainConfig.split_rule`: a `lcma_tf.factorization.SplitRule`.
RULES = Choices(
    {
        "lcma": "lcma_tf.factorization.rules:LCMA",
        "lcma_reversed": "lcma_tf.factorization.rules:LCMA_REVERSED",
        "lcma_null": "lcma_tf.factorization.rules:LCMA_NULL",
        "lcma_block": "lcma_tf.factorization.rules:LCMA_BLOCK",
        "gain": "lcma_tf.factorization.rules:GAIN",
        "dependence": "lcma_tf.factorization.dependence:DEPENDENCE",
        "random": "lcma_tf.factorization.rules:RANDOM",
        "realnvp": "lcma_tf.factorization.rules:REALNVP",
        "none": "lcma_tf.factorization.rules:NONE",  # Nothing exits: the pretraining network.
    }
)

# `TrainConfig.optimizer`: a class of Keras optimizers, called with the arguments of
# `lcma_tf.model.FusedAdam`, of which it is best a subclass: see `lcma_tf.training.phase.make_optimizer`.
OPTIMIZERS = Choices(
    {
        "adam": "lcma_tf.model.fused_adam:FusedAdam",
        "muon": "lcma_tf.model.fused_muon:FusedMuon",
    }
)

# `TrainConfig.dataset`: (rest of the name, data_dir, image_size) -> `lcma_tf.data.ImageData`; used by
# `lcma_tf.data.loading`, which hands on further options of `load` to whoever has an argument for them. A
# name that ends in a colon is a prefix, and a path follows; any other is the whole name, or a slash or
# colon follows it. Every other name is that of a TensorFlow Datasets set.
SOURCES = Choices(
    {
        "npz:": "lcma_tf.data.sources.npz:load_npz",
        "image_folder:": "lcma_tf.data.sources.image_folder:load_image_folder",
        "photo_patches": "lcma_tf.data.sources.photo_patches:load_photo_patches",
        "cifar10": "lcma_tf.data.sources.cifar10:load_cifar10",
        "downsampled_imagenet": (
            "lcma_tf.data.sources.downsampled_imagenet:load_downsampled_imagenet"
        ),
        "imagenet_resized": "lcma_tf.data.sources.imagenet_resized:load_imagenet_resized",
        "celeb_a": "lcma_tf.data.sources.celeb_a:load_celeb_a",
        "mnist": "lcma_tf.data.sources.mnist:load_mnist",
        "fashion_mnist": "lcma_tf.data.sources.mnist:load_fashion_mnist",
    }
)

# Of these sources, those that give what is to be scored without the rest: (rest of the name, data_dir,
# image_size), `split`, `usual_split` and further options -> `lcma_tf.data.one_split.OneSplit`; the
# others are loaded whole first.
SCORED_SOURCES = Choices(
    {
        "npz:": "lcma_tf.data.sources.npz:load_npz_to_score",
        "image_folder:": "lcma_tf.data.sources.image_folder:load_folder_to_score",
    }
)

# `TrainConfig.resampler`: (image uint8 [H, W, 3], size) -> [size, size, 3], uint8, or float32 for pixels
# that are real numbers: see `lcma_tf.data.resample`.
RESAMPLERS = Choices(
    {
        "antialias": "lcma_tf.data.resample:antialias",
        "program": "lcma_tf.data.resample:program",
    }
)

# What is said of an image beside the images of a calibration: a `lcma_tf.scores.table.Score`.
SCORES = Choices(
    {
        "log_prob": "lcma_tf.scores.table:LOG_PROBABILITY",
        "bits_per_dim": "lcma_tf.scores.table:BITS_PER_DIM",
        "percentile": "lcma_tf.scores.table:PERCENTILE",
        "typicality": "lcma_tf.scores.table:TYPICALITY",
        "complexity": "lcma_tf.scores.table:COMPLEXITY",
        "last_scale": "lcma_tf.scores.table:LAST_SCALE",
        "density_of_states": "lcma_tf.scores.table:DENSITY_OF_STATES",
        "anomaly_score": "lcma_tf.scores.table:ANOMALY_SCORE",
        "is_anomaly": "lcma_tf.scores.table:IS_ANOMALY",
    }
)

# Made of a calibration's tables, so that `anomaly_score` cannot be made of them. Each says
# so itself (`Score.is_raw`); here for `--help`, which follows no entry, as that imports TensorFlow.
OF_TABLES = ("percentile", "typicality", "anomaly_score", "is_anomaly")

# `--input` of `lcma_tf.score`, by prefix: (rest of the name, data_dir, without) ->
# `lcma_tf.batch.rows.Rows`. What has no prefix is a folder, or a pattern for files.
INPUTS = Choices(
    {
        "image_folder:": "lcma_tf.batch.inputs.folder:open_folder",
        "npz:": "lcma_tf.batch.inputs.npz:open_npz",
        "tfds:": "lcma_tf.batch.inputs.tfds:open_tfds",
        "parquet:": "lcma_tf.batch.inputs.parquet:open_parquet",
        "tfrecord:": "lcma_tf.batch.inputs.tfrecord:open_tfrecord",
    }
)

# `--output` of `lcma_tf.score`, by the ending of its name: a `lcma_tf.batch.tables.Table`, a class.
TABLES = Choices(
    {
        ".csv": "lcma_tf.batch.tables:CsvTable",
        ".parquet": "lcma_tf.batch.tables:ParquetTable",
    }
)

# `--resize` of `lcma_tf.score`: (image uint8 [H, W, C], size) -> uint8 [size, size, C], C 1 or 3.
RESIZES = Choices(
    {
        "antialias": "lcma_tf.data.resize:center_square_antialiased",
        "area": "lcma_tf.data.resize:center_square_pixels",  # As an `image_folder` is brought to a size.
    }
)
