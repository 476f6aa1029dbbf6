"""The split rules on examples worked out by hand, and what is made of them over the scales."""

import numpy as np
import pytest

from lcma_tf import Factorization, FactorizationError, decide_factorization
from lcma_tf.choices import RULES
from lcma_tf.factorization import SPLIT_RULES, evidence_of, masks, needs_pretraining, order
from lcma_tf.factorization.rules import SplitRule
from testing import tiny_factorization

# One channel, two blocks: 5 1 | 2 2
#                          3 4 | 2 2     (the second block is a tie)
CONTRIBUTION = np.array([[5, 1, 2, 2], [3, 4, 2, 2]], float)[..., None]


def decide(rule, contributions=None, shape=(2, 4, 1), num_scales=2, seed=0):
    return decide_factorization(
        rule, image_shape=shape, num_scales=num_scales, contributions=contributions, seed=seed
    )


def cells(mask):
    return ["".join("x" if cell else "." for cell in row) for row in mask[..., 0]]


def test_lcma_keeps_the_two_highest_and_ties_go_to_the_earlier():
    (mask,) = decide("lcma", [CONTRIBUTION]).masks
    assert cells(mask) == ["x.xx", ".x.."]


def test_lcma_reversed_keeps_the_two_lowest_and_ties_go_to_the_earlier():
    (mask,) = decide("lcma_reversed", [CONTRIBUTION]).masks
    assert cells(mask) == [".xxx", "x..."]


def test_a_tie_for_the_second_place():
    contribution = np.array([[1, 3], [1, 1]], float)[..., None]
    assert cells(decide("lcma", [contribution], (2, 2, 1)).masks[0]) == ["xx", ".."]
    contribution = np.array([[3, 1], [3, 3]], float)[..., None]
    assert cells(decide("lcma", [contribution], (2, 2, 1)).masks[0]) == ["x.", "x."]


def test_realnvp_keeps_the_diagonal_of_every_block_and_channel():
    (mask,) = decide("realnvp", shape=(2, 4, 3)).masks
    for channel in range(3):
        assert cells(mask[..., channel : channel + 1]) == ["x.x.", ".x.x"]


def test_each_channel_is_ranked_for_itself():
    contribution = np.stack([CONTRIBUTION[:, :2, 0], -CONTRIBUTION[:, :2, 0]], axis=-1)
    (mask,) = decide("lcma", [contribution], (2, 2, 2)).masks
    np.testing.assert_array_equal(mask[..., 1], ~mask[..., 0])


def test_random_is_half_of_all_and_its_seed_decides():
    one, same, other = (decide("random", shape=(8, 8, 3), seed=seed) for seed in (1, 1, 2))
    assert one == same and one != other
    assert one.masks[0].sum() == 96
    per_block = order.blocks(one.masks[0]).sum(axis=-1)
    assert per_block.min() < 2 < per_block.max()  # No spatial structure.
    deep = decide("random", shape=(8, 8, 1), num_scales=3)
    assert np.any(deep.masks[0].ravel()[:32] != deep.masks[1].ravel())  # A draw for each scale.


def test_a_seed_is_none_below_zero():
    with pytest.raises(FactorizationError, match="`seed` must be at least 0; got -1"):
        Factorization("none", (8, 8, 1), seed=-1)


def test_none_has_no_masks():
    factorization = decide("none", shape=(8, 8, 1), num_scales=3)
    assert factorization.masks == ()
    np.testing.assert_array_equal(factorization.exit_scale(), np.ones((8, 8, 1)))


def test_the_second_scale_ranks_what_the_first_let_through():
    # Layer 1 keeps the upper row of each block, so scale 2 sees, as [2, 2, 2],
    # block (i, j) -> channels (upper left, upper right).
    first = np.tile(np.array([[2, 2], [1, 1]]), (2, 2)).astype(float)[..., None]
    second = np.array([[9, 1, 1, 9], [99, 99, 99, 99], [1, 9, 9, 1], [99, 99, 99, 99]], float)
    one, two = decide("lcma", [first, second[..., None]], (4, 4, 1), num_scales=3).masks
    assert cells(one) == ["xxxx", "....", "xxxx", "...."]
    # Channel 0 holds 9 1 / 1 9 over the four blocks, channel 1 holds 1 9 / 9 1. What has left has
    # 99 and would win if it still counted.
    assert cells(two[..., :1]) == ["x.", ".x"]
    assert cells(two[..., 1:]) == [".x", "x."]


def test_exit_scale_is_in_the_coordinates_of_the_image():
    first = np.tile(np.array([[2, 2], [1, 1]]), (2, 2)).astype(float)[..., None]
    second = np.array([[9, 1, 1, 9], [99, 99, 99, 99], [1, 9, 9, 1], [99, 99, 99, 99]], float)
    exits = decide("lcma", [first, second[..., None]], (4, 4, 1), num_scales=3).exit_scale()
    expected = [[3, 2, 2, 3], [1, 1, 1, 1], [2, 3, 3, 2], [1, 1, 1, 1]]
    np.testing.assert_array_equal(exits[..., 0], expected)


@pytest.mark.parametrize("rule", [rule for rule in SPLIT_RULES if rule != "none"])
def test_every_rule_halves_at_every_scale(rule):
    factorization = tiny_factorization(rule, (8, 16, 3), num_scales=4)
    shapes = [mask.shape for mask in factorization.masks]
    assert shapes == [(8, 16, 3), (4, 8, 6), (2, 4, 12)]
    assert all(2 * mask.sum() == mask.size for mask in factorization.masks)
    values, counts = np.unique(factorization.exit_scale(), return_counts=True)
    assert values.tolist() == [1, 2, 3, 4] and counts.tolist() == [192, 96, 48, 48]
    assert factorization == tiny_factorization(rule, (8, 16, 3), num_scales=4)


def test_contributions_by_name_are_those_in_order():
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(8, 8, 1)).astype(np.float32) for _ in range(3)]
    named = {f"layer_{index}": layer for index, layer in enumerate(layers, start=1)}
    by_order = decide("lcma", layers, (8, 8, 1), num_scales=3)
    assert decide("lcma", dict(reversed(named.items())), (8, 8, 1), num_scales=3) == by_order


def test_agreement():
    # Kept: x.xx / .x..  against  x.x. / .x.x: six of eight entries are equal.
    lcma, static = decide("lcma", [CONTRIBUTION]), decide("realnvp")
    assert lcma.agreement(static) == (0.75,) and static.agreement(static) == (1.0,)
    with pytest.raises(FactorizationError, match="`other` must be a Factorization; got None"):
        decide("random", (4, 4, 1)).agreement(None)
    with pytest.raises(FactorizationError, match="one shape"):
        lcma.agreement(decide("realnvp", shape=(4, 4, 1)))


def test_each_rule_says_what_it_reads():
    terms = ["lcma", "lcma_reversed", "lcma_null", "lcma_block"]
    assert [rule for rule in SPLIT_RULES if evidence_of(rule) == "contributions"] == terms
    assert [rule for rule in SPLIT_RULES if needs_pretraining(rule)] == [*terms, "gain"]
    assert [rule for rule in SPLIT_RULES if evidence_of(rule) == "logits"] == ["dependence"]
    with pytest.raises(ValueError, match="`decide` must be a function or None; got 'lcma'"):
        SplitRule("a name", "lcma")
    with pytest.raises(ValueError, match="one of contributions, gain, logits; got 'terms'"):
        SplitRule("reads what nobody gives", None, "terms")


def test_lcma_null_sees_only_what_differs_from_block_to_block():
    # Corner by corner: the first block's 5 1 3 4 against 2 2 2 2, less their means 3.5 1.5 2.5 3.
    (mask,) = decide("lcma_null", [CONTRIBUTION]).masks
    assert cells(mask) == ["x..x", ".xx."]  # 1.5 -.5 .5 1 and the negatives of these.
    rng = np.random.default_rng(0)
    contribution = rng.normal(size=(8, 8, 3))
    pattern = np.tile(rng.normal(size=(2, 2, 3)), (4, 4, 1))
    assert decide("lcma_null", [contribution], (8, 8, 3)) == decide(
        "lcma_null", [contribution + pattern], (8, 8, 3)
    )


def test_lcma_block_keeps_the_higher_half_of_a_block_whatever_the_channel():
    contribution = np.zeros((2, 4, 2))
    contribution[..., 1] = 1
    contribution[0, 0, 0], contribution[1, 1, 1] = 2, -1
    (mask,) = decide("lcma_block", [contribution], (2, 4, 2)).masks
    assert cells(mask[..., :1]) == ["x...", "...."]
    assert cells(mask[..., 1:]) == ["xxxx", "x.xx"]


def test_gain_keeps_one_pattern_a_channel():
    gain = np.zeros((4, 4, 2))
    gain[0::2, :, 0] = [1, 3, 1, -1]  # On average the upper row of each block.
    gain[:, 1::2, 1] = 1  # The right column.
    mask = decide_factorization("gain", image_shape=(4, 4, 2), num_scales=2, gain=[gain]).masks[0]
    assert cells(mask[..., :1]) == ["xxxx", "....", "xxxx", "...."]
    assert cells(mask[..., 1:]) == [".x.x"] * 4


def test_masks_of_a_user_s_rotation_are_part_of_the_factorization():
    turned = decide_factorization(
        "realnvp", image_shape=(4, 4, 2), num_scales=2, rotations=[np.eye(2)[::-1]]
    )
    assert turned.rotation(0).tolist() == [[0, 1], [1, 0]] and turned.rotation(1) is None
    assert turned != decide("realnvp", shape=(4, 4, 2))


def test_masks_are_frozen_copies():
    mask = masks.checkerboard((4, 4, 1))
    factorization = Factorization("realnvp", (4, 4, 1), (mask,))
    mask[:] = False
    assert factorization.masks[0].sum() == 8
    with pytest.raises(ValueError, match="read-only"):
        factorization.masks[0][:] = False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "lmca"}, "`split_rule` must be one of lcma, .*; got 'lmca'"),
        ({"contributions": None}, "'lcma' is decided by `contributions`; got None"),
        ({"contributions": []}, "at least num_scales - 1 = 1 layers; got 0"),
        ({"contributions": {"layer_2": CONTRIBUTION}}, r"must hold layer_1; got \['layer_2'\]"),
        ({"contributions": [CONTRIBUTION * np.nan]}, "layer 1 must be finite; got 8 entries"),
        ({"contributions": [CONTRIBUTION[:1]]}, r"float of shape \(2, 4, 1\); got .*\(1, 4, 1\)"),
        ({"contributions": [CONTRIBUTION.astype(int)]}, "must be float .* got int64"),
        ({"num_scales": 3}, r"divisible by 2\*\*\(num_scales - 1\).*num_scales=3"),
        ({"num_scales": 0}, "num_scales=0"),
        ({"rule": "gain"}, "'gain' is decided by `gain`; got None"),
        ({"rule": "dependence"}, "'dependence' is decided by `logits`; got None"),
        ({"seed": -1}, "`seed` must be at least 0; got -1"),
        ({"shape": (3, 4, 1)}, r"image_shape=\(3, 4, 1\)"),
        ({"shape": (4, 4)}, r"\(H, W, C\), all positive integers; got \(4, 4\)"),
        ({"shape": None}, "`image_shape` must be .*; got None"),
        ({"shape": (4.5, 4, 1)}, r"`image_shape` must be .*; got \(4.5, 4, 1\)"),
        ({"num_scales": "2"}, "`num_scales` must be an integer; got '2'"),
        ({"seed": None}, "`seed` must be an integer; got None"),
        ({"contributions": 5}, "`contributions` must be a sequence of arrays; got int"),
        ({"shape": (4, 0, 1)}, r"got \(4, 0, 1\)"),
    ],
)
def test_what_cannot_be_decided_is_refused(arguments, message):
    with pytest.raises(FactorizationError, match=message):
        decide(**{"rule": "lcma", "contributions": [CONTRIBUTION], **arguments})


def half(shape):
    mask = np.zeros(shape, bool)
    mask[: shape[0] // 2] = True
    return mask


@pytest.mark.parametrize(
    ("decides", "message"),
    [
        (lambda evidence, shape, rng: half(shape)[:2], r"bool of shape \(4, 4, 1\); got .*\(2, 4,"),
        (lambda evidence, shape, rng: half(shape).astype(int), "must be bool .*; got int64"),
        (lambda evidence, shape, rng: None, "must be bool .*; got object"),
        (lambda evidence, shape, rng: half(shape) | True, "be half True; got .* 16 of 16 True"),
    ],
)
def test_a_mask_that_is_none_is_told_by_the_name_of_its_rule(decides, message, monkeypatch):
    monkeypatch.setitem(RULES, "mine", SplitRule("of mine", decides))
    with pytest.raises(FactorizationError, match=f"mask_1, as rule 'mine' decides it, .*{message}"):
        decide_factorization("mine", image_shape=(4, 4, 1), num_scales=3)


def test_a_later_mask_is_told_too_and_an_entry_that_is_no_rule(monkeypatch):
    def decides(evidence, shape, rng):
        return half(shape) if shape == (8, 8, 1) else half(shape)[..., :1]

    monkeypatch.setitem(RULES, "mine", SplitRule("of mine", decides, evidence="gain"))
    with pytest.raises(FactorizationError, match="mask_2, as rule 'mine' decides it"):
        gain = [np.zeros((8, 8, 1))] * 3
        decide_factorization("mine", image_shape=(8, 8, 1), num_scales=3, gain=gain)
    monkeypatch.setitem(RULES, "mine", half)
    with pytest.raises(FactorizationError, match="'mine' must be a SplitRule; its entry is a func"):
        decide_factorization("mine", image_shape=(8, 8, 1), num_scales=3)
