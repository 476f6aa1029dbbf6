"""What a flow without splits has learned, carried over into the flow with splits, where it fits.

Network by network, by name. One whose weights all have their shapes, as those of the first level, is
carried whole; where `aligned` couplings have other masks there, it is a beginning. At a later level the
flow without splits has twice or four times the channels, `4c + 2i + j` for corner (i, j) of each 2x2
block of channel c, and so on. A network there gets, of every weight along channels, batch-norm moments
included, those of the dimensions that its own channels hold in most places. Where the mask is one
pattern for all blocks these are the same in all places, and nothing is mixed up; but a coupling over
channels keeps a half of them, and to what another half had goes what its own has left. For all this
the flow's builder has to tell the masks of its couplings (`RealNVPBuilder.masks`).

What does not fit stays as it was initialized, a whole network at a time. So it is with Glow's later
levels: the 1x1 convolution of some of the channels is no part of that of all, and what stands beside it
is used to it. And with conditional exits, of which a flow without splits has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lcma_tf.factorization import Factorization
from lcma_tf.factorization.masks import selects_channels
from lcma_tf.factorization.order import gather_kept
from lcma_tf.flows import flow_builder
from lcma_tf.model import FlowModel
from lcma_tf.networks.parameters import parameter_places
from lcma_tf.say import say

__all__ = ["carried_flow"]


class Channels(NamedTuple):
    """Which channels of the old network the channels of the new one are: of its event, input, output."""

    event: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray


def carried_flow(source: FlowModel, factorization: Factorization) -> FlowModel:
    """A flow with the splits of `factorization` and the weights of `source` that fit.

    Args:
        source: a trained flow without splits.
        factorization: for such images and so many scales.

    Raises:
        FactorizationError: `factorization` is for others.
    """
    flow = FlowModel(source.config, factorization, source.compute_dtype)
    theirs = {network.name: network for network in source.networks}
    channels = _channels(source, factorization)
    whole, sliced, fresh = [], [], []
    for network in flow.networks:
        found = None
        if network.name in theirs:
            old, new = (_by_name(n) for n in (theirs[network.name], network))
            found = _whole(old, new)
            if found is None and network.name in channels:
                found = _sliced(old, new, channels[network.name])
                sliced += [network.name] if found else []
            elif found:
                whole.append(network.name)
        if found is None:
            fresh.append(network.name)
            continue
        network.set_weights([found[variable.name] for variable in network.weights])
    told = ", ".join(
        f"{len(names)} {how}"
        for names, how in ((whole, "whole"), (sliced, "the channels that stay"), (fresh, "not"))
        if names
    )
    say(
        f"carry the weights over into the flow with splits: of {len(flow.networks)} networks {told}"
    )
    return flow


def _by_name(network: Any) -> dict[str, np.ndarray]:
    return {variable.name: np.asarray(variable) for variable in network.weights}


def _whole(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> dict | None:
    """`old`, if its weights have the names and shapes of `new`."""
    fits = {n: w.shape for n, w in old.items()} == {n: w.shape for n, w in new.items()}
    return dict(old) if fits else None


def _sliced(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], channels: Channels
) -> dict[str, np.ndarray] | None:
    """The weights of a conditioner, or moments, with these channels alone; None if that is no fit."""
    if old.keys() != new.keys():
        return None
    found = {}
    for name, weight in old.items():
        if name in ("input_mean", "input_variance", "input_beta"):
            weight = weight[channels.inputs]
        elif name in ("mean", "variance"):  # Of an in-flow batch norm.
            weight = weight[channels.event]
        elif name in ("output_kernel", "output_magnitude", "output_bias"):
            number = new[name].shape[-1] // len(channels.outputs)
            num_channels = weight.shape[-1] // number
            weight = weight[..., parameter_places(channels.outputs, num_channels, number)]
        elif name == "input_kernel":
            weight = _input_kernel(weight, old, new, channels.inputs)
        found[name] = weight
    return _whole(found, new)


def _input_kernel(weight, old, new, inputs) -> np.ndarray:
    """Of `[3, 3, x and -x and the mask, width]` the channels `inputs` of x and -x."""
    size, new_size = len(old["input_beta"]), len(new["input_beta"])
    kept = weight[:, :, np.concatenate([inputs, size + inputs])]
    # The mask of the flow without splits is the same in all channels, and told by one.
    mask, times = weight[:, :, 2 * size :], new["input_kernel"].shape[2] - 2 * new_size
    if mask.shape[2]:
        kept = np.concatenate([kept, np.repeat(mask / times, times, axis=2)], axis=2)
    return kept


def _channels(source: FlowModel, factorization: Factorization) -> dict[str, Channels]:
    """What the channels of each network of a coupling are in `source`; {} if its builder tells none."""
    config = source.config
    theirs, ours = (
        getattr(flow_builder(config, f), "masks", {}) for f in (source.factorization, factorization)
    )
    old, new = (_places(f, config.num_scales) for f in (source.factorization, factorization))
    found, known = {}, {}
    for name, mask in ours.items():
        other = theirs.get(name)
        if other is None or selects_channels(mask) != selects_channels(other):
            continue
        # Networks of one level and kind share it: pairing hundreds of channels takes its time.
        key = mask.shape, selects_channels(mask) and mask[0, 0].tobytes()
        if key not in known:
            score = _score(new[mask.shape], old[other.shape], config.image_shape[-1])
            known[key] = _matched(score, mask, other)
        found[name] = known[key]
    return found


def _places(factorization: Factorization, num_scales: int) -> dict[tuple[int, ...], np.ndarray]:
    """By the shapes of all events, squeezed ones too, which dimension of the data is where in them."""
    inside = np.arange(int(np.prod(factorization.image_shape))).reshape(factorization.image_shape)
    places = {inside.shape: inside}
    for index in range(num_scales - 1):
        squeezed = gather_kept(inside, np.ones(inside.shape, bool))
        masks = factorization.masks
        inside = gather_kept(inside, masks[index]) if masks else squeezed
        places |= {squeezed.shape: squeezed, inside.shape: inside}
    return places


def _score(new: np.ndarray, old: np.ndarray, num_colours: int) -> np.ndarray:
    """`[channels of new, channels of old]`: how well they suit each other.

    The number of places with the same dimension of the data in both; and, below one, the share of those
    with the same colour, for channels whose own dimensions are taken.
    """
    channel = np.empty(old.size, np.int64)
    channel[old] = np.arange(old.shape[2])
    score = np.zeros((new.shape[2], old.shape[2]))
    np.add.at(score, (np.arange(new.shape[2]), channel[new]), 1)
    old_colours = old[0, 0] % num_colours
    same = (new[..., None] % num_colours == old_colours).mean(axis=(0, 1))
    return score + same / 2


def _matched(score: np.ndarray, mask: np.ndarray, other: np.ndarray) -> Channels:
    """Channels by `score`; in a coupling of channels what is kept is what was kept."""
    if not selects_channels(mask):
        event = _paired(score)
        return Channels(event, event, event)
    kept, was_kept = mask[0, 0], other[0, 0]
    event, parts = np.empty(len(kept), np.int64), []
    for is_kept in (True, False):
        rows, columns = np.flatnonzero(kept == is_kept), np.flatnonzero(was_kept == is_kept)
        parts.append(_paired(score[np.ix_(rows, columns)]))
        event[rows] = columns[parts[-1]]
    return Channels(event, *parts)


def _paired(score: np.ndarray) -> np.ndarray:
    """For each row a column, no column twice: the highest score first."""
    found, is_taken = np.full(len(score), -1), np.zeros(score.shape[1], bool)
    for place in np.argsort(-score, axis=None, kind="stable"):
        row, column = divmod(int(place), score.shape[1])
        if found[row] < 0 and not is_taken[column]:
            found[row], is_taken[column] = column, True
    return found
