"""The images that a finished run is looked at with: its own, or others of the same shape."""

from __future__ import annotations

import dataclasses

from lcma_tf import data as data_lib
from lcma_tf.config import FlowConfig, TrainConfig, require
from lcma_tf.data import DataError, ImageData
from lcma_tf.data.fingerprint import differences
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.files.paths import absolute_dataset, kind_of_dataset

__all__ = ["load_images", "whose_images"]


def load_images(
    flow: FlowConfig,
    run: TrainConfig,
    dataset: str | None = None,
    data_dir: str | None = None,
    skip_bad_images: bool | None = None,
) -> ImageData:
    """The data set of a run, or `dataset` in its place, for a flow of `flow`.

    Args:
        flow: of the run; the images must suit it.
        run: its config: sizes, padding and what is not given are the run's.
        dataset: another data set, or the same one in another place; None = the run's.
        data_dir: where it is; None = as the run has it.
        skip_bad_images: None = as the run, for data of the run's kind.

    Raises:
        ConfigError: images that the flow does not take.
        DataError: they cannot be had; for the run's own, what to do where they have moved.
    """
    if skip_bad_images is None:
        same_kind = kind_of_dataset(dataset or run.dataset) == kind_of_dataset(run.dataset)
        skip_bad_images = run.skip_bad_images and same_kind
    changed = dataclasses.replace(
        run,
        dataset=dataset or run.dataset,
        data_dir=data_dir or run.data_dir,
        skip_bad_images=skip_bad_images,
    )
    try:
        images = data_lib.load(**changed.data_options())
    except DataError as error:
        if dataset:
            raise
        where = ""
        if absolute_dataset(run.dataset) != run.dataset:
            where = " (an earlier version kept a relative path: it counts from this folder)"
        raise DataError(f"{error}{where}; data that have moved are named by `dataset`") from error
    require(
        images.image_shape == flow.image_shape,
        "dataset",
        f"one of images of shape {flow.image_shape}",
        images.image_shape,
    )
    require(
        flow.real_valued or not images.is_real_valued,
        "dataset",
        "one of 8-bit images, as the run's is",
        f"{images.name}, real-valued",
    )
    return images


def whose_images(workdir: Workdir, images: ImageData) -> tuple[bool, str]:
    """Whether these may be the images that the run was begun with, and a sentence on it.

    Raises:
        WorkdirError: the workdir cannot be read.
    """
    known = workdir.read_fingerprint()
    if known is None:
        return True, "Whether these are the images of the run is not known: it kept no fingerprint."
    found = differences(known, images.fingerprint)
    if not found:
        return True, "These are the images of the run."
    return False, f"These are not the images that the run was begun with: {'; '.join(found)}."
