"""`--config=NAME`: the same as the flag file of that name, from any folder, at any place."""

import pytest
from absl import flags

import commands
from lcma_tf.cli.named_configs import config_names, config_path


def settings(values):
    return {name: values[name].value for name in values if name != "config"}


@pytest.mark.parametrize("name", config_names())
def test_a_name_means_its_flag_file(flags_of, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = flags_of(f"--config={name}")
    assert found.workdir == f"runs/{name}"
    assert settings(found) == settings(flags_of(f"--flagfile={config_path(name)}"))


@pytest.mark.parametrize("words", [("--config=quickstart",), ("--config", "quickstart")])
def test_what_follows_overrides_and_what_precedes_does_not(flags_of, words):
    found = flags_of("--batch_size=2", "--flip", *words, "--train_steps=3", "--num_scales", "2")
    assert (found.batch_size, found.train_steps, found.num_scales) == (16, 3, 2)
    assert found.flip  # Nothing is said of it there.
    assert found.learning_rate_schedule == "cosine" and found.config == "quickstart"


def test_the_later_of_two_wins_where_both_speak(flags_of):
    found = flags_of("--config=quickstart", "--config=cifar10_lcma")
    assert (found.base_dim, found.batch_norm_moments, found.warmup_steps) == (64, "all", 50)


def test_a_flag_file_may_begin_with_a_name(flags_of, tmp_path):
    (tmp_path / "own.flags").write_text("--config=cifar10_lcma_smoke\n--seed=7\n")
    found = flags_of("--seed=3", f"--flagfile={tmp_path / 'own.flags'}")
    assert (found.seed, found.train_steps, found.num_scales) == (7, 60, 2)


@pytest.mark.parametrize("name", ["quickstrat", "configs/quickstart.flags", ""])
def test_an_unknown_name_is_told_the_known_ones(flags_of, name):
    with pytest.raises(flags.IllegalFlagValueError) as caught:
        flags_of(f"--config={name}")
    assert f"got {name!r}" in str(caught.value) and "--flagfile" in str(caught.value)
    for known in config_names():
        assert known in str(caught.value)


@pytest.mark.parametrize("main", ["train", "ablation"])
def test_a_command_refuses_it(main, tmp_path):
    ended = commands.call(f"lcma_tf.{main}", "--config=none", f"--workdir={tmp_path / 'run'}")
    commands.assert_refused(ended, "--config=none `config` must be one of quickstart got 'none'.")
    assert not list(tmp_path.iterdir())
