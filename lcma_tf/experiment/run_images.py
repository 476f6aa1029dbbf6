"""The images that a finished run is looked at with: its own, or others of the same shape."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from lcma_tf.config import FlowConfig, TrainConfig, require
from lcma_tf.data import DataError, OneSplit, load_for_scoring
from lcma_tf.data.fingerprint import differences, fingerprint_of_images
from lcma_tf.data.one_split import WHOLE
from lcma_tf.data.sources.image_folder import hashed_split
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.files.paths import absolute_dataset, kind_of_dataset

__all__ = ["load_images", "whose_images"]

# What the data of a run's kind take, and others may refuse.
_OF_A_KIND = ("resampler", "validation_share")


def load_images(
    workdir: Workdir,
    flow: FlowConfig,
    run: TrainConfig,
    *,
    split: str | None = None,
    usual_split: str = "test",
    dataset: str | None = None,
    data_dir: str | None = None,
    image_size: int | None = None,
    skip_bad_images: bool | None = None,
    data_cache: str | None = "",
    argument: str = "dataset",
) -> OneSplit:
    """One split of the data set of a run, or of `dataset` in its place, for a flow of `flow`.

    Args:
        workdir: of the run: what it knows of its images.
        flow: of the run; the images must suit it.
        run: its config: sizes, padding and what is not given are the run's.
        split: None = `usual_split`; of another `image_folder` than the run's that has no sub-folders for
            splits, all files. The split by hash of such a folder is used if it is asked for here, or if
            the folder is the run's, wherever it lies now.
        usual_split: as said.
        dataset: another data set, or the same one in another place; None = the run's.
        data_dir: where it is; None = as the run has it.
        image_size: to which pictures are brought; None = as the run has it.
        skip_bad_images: None = as the run, for data of the run's kind.
        data_cache: as for `lcma_tf.data.load`.
        argument: what the caller calls `dataset`.

    Raises:
        ConfigError: images that the flow does not take.
        DataError: they cannot be had; for the run's own, what to do where they have moved.
        WorkdirError: the workdir cannot be read.
    """
    same_kind = kind_of_dataset(dataset or run.dataset) == kind_of_dataset(run.dataset)
    if skip_bad_images is None:
        skip_bad_images = run.skip_bad_images and same_kind
    is_own = absolute_dataset(dataset or run.dataset) == absolute_dataset(run.dataset)
    changed = dataclasses.replace(
        run,
        dataset=dataset or run.dataset,
        data_dir=data_dir or run.data_dir,
        image_size=image_size or run.image_size,
        skip_bad_images=skip_bad_images,
    )
    options = {
        name: value
        for name, value in changed.data_options().items()
        if same_kind or name not in _OF_A_KIND
    }
    try:
        split = split or (usual_split if is_own else None)
        images = load_for_scoring(
            **options, split=split, usual_split=usual_split, data_cache=data_cache
        )
    except DataError as error:
        if dataset:
            raise
        where = ""
        if absolute_dataset(run.dataset) != run.dataset:
            where = " (an earlier version kept a relative path: it counts from this folder)"
        raise DataError(f"{error}{where}; data that have moved are named by `dataset`") from error
    require(
        images.image_shape == flow.image_shape,
        argument,
        f"one of images of shape {flow.image_shape}",
        f"{images.name} of {images.image_shape}",
    )
    require(
        flow.real_valued or not images.is_real_valued,
        argument,
        "one of 8-bit images, as the run's is",
        f"{images.name}, real-valued",
    )
    if images.split == WHOLE and same_kind:
        return _own_split_if_moved(images, usual_split, workdir, options.get("validation_share"))
    return images


def whose_images(workdir: Workdir, images: OneSplit) -> tuple[bool, str]:
    """Whether these may be the images that the run was begun with, and a sentence on it.

    Raises:
        WorkdirError: the workdir cannot be read.
    """
    if images.split == WHOLE:
        told = "All images of it; whether the run was trained on some of them is not known."
        return False, told
    known = workdir.read_fingerprint()
    if known is None:
        return True, "Whether these are the images of the run is not known: it kept no fingerprint."
    split = images.split
    found = differences({split: known.get(split)}, {split: images.fingerprint})
    if not found:
        return True, "These are the images of the run."
    return False, f"These are not the images that the run was begun with: {'; '.join(found)}."


def _own_split_if_moved(
    images: OneSplit, split: str, workdir: Workdir, share: float | None
) -> OneSplit:
    """The images of `split` alone of a folder that is the run's, which was trained on most others."""
    known, names = workdir.read_fingerprint(), images.file_names or ()
    is_of_split = np.array([hashed_split(name, share) == split for name in names], bool)
    if known is None or is_of_split.sum() != known.get(split, {}).get("images"):
        return images
    chosen = images.images[is_of_split]
    if fingerprint_of_images(chosen) != known[split]:
        return images
    told = f"Of these the {split} images of the run, by hash of the name."
    return dataclasses.replace(
        images,
        split=split,
        images=chosen,
        description=f"{images.description} {told}",
        file_names=tuple(itertools.compress(names, is_of_split)),
    )
