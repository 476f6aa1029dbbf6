"""Every rule of the configs, refused with a sentence that names the field and the value."""

import dataclasses
import json
import math
import os
import pathlib

import numpy as np
import pytest

from lcma_tf import ConfigError, FlowConfig, TrainConfig, choices

NOT_INTEGERS = (2.0, "2", True, None)
NOT_NUMBERS = (math.nan, math.inf, "0.1", True, None)

# Field: values that it refuses.
REFUSED_BY_FLOW = {
    "image_shape": [(32, 32), (32, 32, 3, 1), (32, 0, 3), (32, -32, 3), (32.0, 32, 3), 32, None],
    "flow": ["glow2", "", None],
    "num_scales": [0, -1, *NOT_INTEGERS],
    "base_dim": [0, -64, 1025, *NOT_INTEGERS],
    "num_residual_blocks": [0, -1, *NOT_INTEGERS],
    "num_couplings": [0, -1, *NOT_INTEGERS],
    "num_steps_per_scale": [0, -1, *NOT_INTEGERS],
    "level_widths": [16, "16,16", (), (16,), (16, 16, 16), (16, 0), (16.0, 16), (16, 1025)],
    "level_blocks": [1, "1,1", (), (1,), (1, 1, 1), (1, 0), (True, 1), (1, 1025)],
    "alpha": [0.0, 0.5, -0.1, *NOT_NUMBERS],
    "pixel_transform": ["logit", "", None],
    "batch_norm_moments": ["none", "", None],
    "coupling_masks": ["channel", "", None],
    "exit_prior": ["normal", "", None],
    "dequantization": ["none", "", None],
    "coupling": ["splines", "", None],
    "weight_scale_l2": [-1e-5, *NOT_NUMBERS],
    "mixed_precision": [1, "yes", None],
    "real_valued": [1, "yes", None],
    "original_shape": [(28, 28), (0, 28, 3), (33, 32, 3), (28, 28, 4), 28],
    "seed": [-1, *NOT_INTEGERS],
}
REFUSED_BY_TRAIN = {
    "dataset": ["", 5, None],
    "data_dir": [5, b"d"],
    "image_size": [0, -32, 32.0, "32"],
    "resampler": ["bilinear", "", None],
    "pad_to": [0, -32, 32.0, "32"],
    "skip_bad_images": [1, "yes", None],
    "validation_share": [0, 0.0, 0.51, -0.1, math.nan, "0.1", True],
    "split_rule": ["lmca", "", None],
    "channel_rotation": ["pca", "", None],
    "whitening": ["klt", "", None],
    "factorization_path": [5, True],
    "initialize_from": [5, True],
    "train_steps": [0, -1, *NOT_INTEGERS],
    "pretrain_steps": [0, -1, 2.0, "2"],
    "factorize_at_step": [0, -1, TrainConfig().train_steps, 2.0, "2", True],
    "batch_size": [0, -64, *NOT_INTEGERS],
    "optimizer": ["sgd", "", None],
    "learning_rate": [0.0, -1e-3, *NOT_NUMBERS],
    "learning_rate_schedule": ["linear", None],
    "warmup_steps": [-1, *NOT_INTEGERS],
    "clip_norm": [0.0, -1.0, *NOT_NUMBERS],
    "ema": [0.0, 1.0, -0.9, math.nan, "0.9", True],
    "flip": [1, "yes", None],
    "steps_per_epoch": [0, -1, *NOT_INTEGERS],
    "seed": [-1, *NOT_INTEGERS],
}
REFUSED = [
    (config, field, value)
    for config, fields in ((FlowConfig, REFUSED_BY_FLOW), (TrainConfig, REFUSED_BY_TRAIN))
    for field, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("config", "field", "value"), REFUSED)
def test_a_value_that_breaks_its_rule_is_refused(config, field, value):
    with pytest.raises(ConfigError) as error:
        config(**{field: value})
    message = str(error.value)
    assert f"`{field}` must be" in message and message.endswith(f"got {value!r}.")
    assert "\n" not in message


def test_the_table_of_refused_values_covers_every_field():
    fields = {
        field.name for config in (FlowConfig, TrainConfig) for field in dataclasses.fields(config)
    }
    assert fields == REFUSED_BY_FLOW.keys() | REFUSED_BY_TRAIN.keys()


@pytest.mark.parametrize(
    ("shape", "num_scales"),
    [((32, 32, 3), 7), ((33, 32, 3), 2), ((32, 12, 1), 4), ((16, 16, 1), 5)],
)
def test_scales_must_fit_the_image(shape, num_scales):
    with pytest.raises(ConfigError) as error:
        FlowConfig(image_shape=shape, num_scales=num_scales)
    assert f"num_scales={num_scales} for image_shape={shape}" in str(error.value)


@pytest.mark.parametrize(
    ("shape", "num_scales"),
    [((16, 32, 3), 5), ((4, 2, 1), 2), ((28, 28, 1), 3), ((5, 7, 3), 1), ([8, 8, 3], 2)],
)
def test_rectangles_and_odd_sizes_are_fine_where_they_divide(shape, num_scales):
    config = FlowConfig(image_shape=shape, num_scales=num_scales)
    assert config.image_shape == tuple(shape)
    assert config.num_dimensions == math.prod(shape)


@pytest.mark.parametrize(
    ("shape", "num_scales"), [((28, 28, 1), 3), ((4, 6, 3), 2), ((5, 7, 3), 1)]
)
def test_glow_squeezes_the_last_scale_too(shape, num_scales):
    FlowConfig(image_shape=shape, num_scales=num_scales)
    rule = r"`num_scales` must be such that .* divisible by 2\*\*num_scales .*'glow'"
    with pytest.raises(ConfigError, match=rule) as error:
        FlowConfig(image_shape=shape, num_scales=num_scales, flow="glow")
    assert f"num_scales={num_scales} for image_shape={shape}" in str(error.value)


def test_a_flow_has_fields_of_its_own(monkeypatch):
    fields = {
        "realnvp": {
            "num_couplings",
            "num_residual_blocks",
            "level_blocks",
            "batch_norm_moments",
            "coupling_masks",
            "weight_scale_l2",
        },
        "glow": {"num_steps_per_scale"},
    }
    for flow, names in fields.items():
        assert FlowConfig(flow=flow).own_fields().keys() == names
    monkeypatch.setitem(choices.FLOWS, "added", object)  # Who knows what it reads, or squeezes.
    config = FlowConfig(image_shape=(2, 2, 1), num_scales=2, flow="added")
    assert config.own_fields().keys() == fields["realnvp"] | fields["glow"]


def test_each_level_may_have_a_size_of_its_own():
    config = FlowConfig(num_scales=3, base_dim=8, num_residual_blocks=2)
    assert (config.widths, config.blocks) == ((8, 16, 32), (2, 2, 2))
    config = dataclasses.replace(config, level_widths=(5, 5, 7), level_blocks=[1, 1, 4])
    assert (config.widths, config.blocks) == ((5, 5, 7), (1, 1, 4))


def test_pretraining_is_as_long_as_training_unless_told():
    assert TrainConfig(train_steps=70).pretrain_steps == 70
    assert TrainConfig(train_steps=70, pretrain_steps=30).pretrain_steps == 30


def test_the_rule_is_that_of_a_given_factorization():
    unasked = dataclasses.replace(TrainConfig(factorization_path="f.npz"), seed=3)
    found = unasked.ruled_by("realnvp")
    assert found == dataclasses.replace(unasked, split_rule="realnvp")
    assert TrainConfig.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    asked = TrainConfig(factorization_path="f.npz", split_rule="lcma")
    assert asked.ruled_by("lcma") == asked
    assert asked.ruled_by("custom").split_rule == "custom"  # A label, which nobody can ask for.
    with pytest.raises(
        ConfigError, match="`split_rule` must be left out, or 'realnvp'.* got 'lcma'"
    ):
        asked.ruled_by("realnvp")


@pytest.mark.parametrize("steps", ["train_steps", "pretrain_steps"])
def test_warm_up_must_end_before_the_steps_do(steps):
    TrainConfig(warmup_steps=49, **{"train_steps": 100, "pretrain_steps": 100, steps: 50})
    with pytest.raises(ConfigError, match=f"`warmup_steps` must be less than {steps}=50; got 50"):
        TrainConfig(warmup_steps=50, **{"train_steps": 100, "pretrain_steps": 100, steps: 50})


def test_the_share_of_validation_is_handed_on():
    assert TrainConfig().data_options()["validation_share"] is None
    assert TrainConfig(validation_share=0.5).data_options()["validation_share"] == 0.5


def test_paths_are_made_absolute():
    paths = {"data_dir": "d", "factorization_path": "f.npz", "initialize_from": "runs/one"}
    config = TrainConfig("npz:a.npz", **paths).with_absolute_paths()
    assert config.dataset == f"npz:{os.path.abspath('a.npz')}"
    for name, path in paths.items():
        assert getattr(config, name) == os.path.abspath(path)
    with pytest.raises(ConfigError, match="`initialize_from`: .*~no_such_user"):
        TrainConfig(initialize_from="~no_such_user/run").with_absolute_paths()


@pytest.mark.parametrize(
    "config",
    [
        FlowConfig(),
        FlowConfig(image_shape=(8, 4, 1), alpha=0.01, pixel_transform="one_sided", seed=3),
        FlowConfig(num_scales=3, level_widths=[16, 16, 32], level_blocks=(1, 2, 3)),
        TrainConfig(),
        TrainConfig(dataset="npz:a.npz", split_rule="random", flip=True, image_size=8),
    ],
)
def test_the_dict_form_is_the_same_again(config):
    as_json = json.loads(json.dumps(config.to_dict()))
    assert type(config).from_dict(as_json) == config
    assert hash(type(config).from_dict(as_json)) == hash(config)


def test_scalars_of_numpy_and_paths_are_kept_as_json_has_them():
    shape = tuple(np.array([8, 8, 1]))
    flow = FlowConfig(
        shape,
        base_dim=np.int64(16),
        alpha=np.float32(0.125),
        mixed_precision=np.bool_(True),
        level_widths=list(np.array([4, 8])),
    )
    assert flow == FlowConfig(
        (8, 8, 1), base_dim=16, alpha=0.125, mixed_precision=True, level_widths=(4, 8)
    )
    steps = TrainConfig(
        data_dir=pathlib.Path("a"), split_rule=np.str_("lcma"), flip=np.False_, ema=np.float64(0.5)
    )
    assert steps == TrainConfig(data_dir="a", split_rule="lcma", flip=False, ema=0.5)
    for config in (flow, steps):
        assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
        assert not [value for value in config.to_dict().values() if isinstance(value, np.generic)]


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("base_dim", np.int64(0), "0"),
        ("base_dim", np.float32(2), "2.0"),
        ("alpha", np.True_, "True"),
    ],
)
def test_scalars_of_numpy_keep_the_rules(field, value, found):
    with pytest.raises(ConfigError, match=f"`{field}` must be .*; got {found}.$"):
        FlowConfig(**{field: value})


@pytest.mark.parametrize("config", [FlowConfig, TrainConfig])
def test_an_unknown_field_is_refused(config):
    with pytest.raises(ConfigError, match=r"fields \[.*'seed'.*\]; got \['sede'\]"):
        config.from_dict({"sede": 1})
    with pytest.raises(
        ConfigError, match="`.*Config` must be made of a dict of its fields; got None"
    ):
        config.from_dict(None)


@pytest.mark.parametrize(("field", "value"), [("channel_rotation", "klt"), ("whitening", "causal")])
def test_what_a_given_factorization_has_is_not_fitted(field, value):
    rule = f"`{field}` must be none where `factorization_path` gives a factorization"
    with pytest.raises(ConfigError, match=rule):
        TrainConfig(factorization_path="f.npz", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("coupling_masks", "swapped"), ("level_blocks", (1, 2))]
)
def test_what_a_glow_does_not_read_of_its_levels_is_refused(field, value):
    FlowConfig(num_scales=2, **{field: value})
    with pytest.raises(ConfigError, match=f"`{field}` must be left at .* with flow='glow', which"):
        FlowConfig(num_scales=2, flow="glow", **{field: value})


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FlowConfig().num_scales = 3
