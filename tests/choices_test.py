"""The tables of what is chosen by name: every entry leads somewhere, and names cost nothing to know."""

import subprocess
import sys
from pathlib import Path

import pytest

from lcma_tf import TrainConfig, choices, errors
from lcma_tf.choices import Choices
from lcma_tf.config.flow_kinds import FlowKind
from lcma_tf.factorization import SplitRule
from lcma_tf.scores.table import Score

ROOT = Path(__file__).resolve().parents[1]
TABLES = {name: table for name, table in vars(choices).items() if isinstance(table, Choices)}
ENTRIES = [(table, name) for table in TABLES for name in TABLES[table]]


def test_these_are_the_tables():
    assert {*TABLES} == {
        "COUPLINGS",
        "FLOWS",
        "FLOW_KINDS",
        "PIXEL_TRANSFORMS",
        "RULES",
        "SOURCES",
        "SCORED_SOURCES",
        "RESAMPLERS",
        "SCORES",
        "INPUTS",
        "OPTIMIZERS",
        "TABLES",
        "RESIZES",
    }
    assert {*choices.SCORED_SOURCES} < {*choices.SOURCES}
    assert {*choices.FLOW_KINDS} == {*choices.FLOWS}
    assert {*TABLES} < {*choices.__all__}
    assert {*choices.OF_TABLES} == {n for n, score in choices.SCORES.items() if not score.is_raw}


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_every_entry_leads_to_what_it_says(table, name):
    entry = TABLES[table][name]
    kinds = {"RULES": SplitRule, "FLOW_KINDS": FlowKind, "SCORES": Score}
    assert isinstance(entry, kinds[table]) if table in kinds else callable(entry)


def test_an_import_string_is_followed_when_it_is_used():
    table = Choices({"here": len, "there": "no_such_module:thing", "root": "math:sqrt"})
    assert list(table) == ["here", "there", "root"] and len(table) == 3
    assert "there" in table and "nowhere" not in table and ["here"] not in table
    assert table["here"] is len and table["root"](4) == 2
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        table["there"]
    with pytest.raises(KeyError, match="nowhere"):
        table["nowhere"]


@pytest.mark.parametrize("entry", ["math", "math:", ":sqrt", ""])
def test_a_string_that_leads_nowhere_is_refused(entry):
    with pytest.raises(ValueError, match="'module:name'; got .* for 'wrong'"):
        Choices({"wrong": entry})


def test_configs_and_flags_know_the_names_without_tensorflow():
    code = (
        "import sys, lcma_tf; from lcma_tf.cli import flags; flags.define_ablation_flags(); "
        "lcma_tf.FlowConfig(), lcma_tf.TrainConfig(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_an_entry_made_at_any_time_is_a_choice(monkeypatch):
    import lcma_tf

    with pytest.raises(lcma_tf.ConfigError, match="`split_rule` must be one of lcma, .*; got 'my'"):
        TrainConfig(split_rule="my")
    monkeypatch.setitem(choices.RULES, "my", SplitRule("mine", None))
    assert TrainConfig(split_rule="my").split_rule == "my"
    assert lcma_tf.SPLIT_RULES[-1] == "my"


def test_the_rule_of_a_stored_run_is_a_label():
    stored = {**TrainConfig(seed=3).to_dict(), "split_rule": "gone"}
    config = TrainConfig.from_dict(stored)
    assert config.split_rule == "gone" and config.to_dict() == stored
    assert config.with_absolute_paths().split_rule == "gone"
    assert config == TrainConfig.from_dict(config.to_dict())
    for wrong in ("", None, 3):
        with pytest.raises(errors.UserError, match="`split_rule` must be one of lcma"):
            TrainConfig.from_dict({**stored, "split_rule": wrong})
    with pytest.raises(errors.UserError, match="`resampler` must be one of"):
        TrainConfig.from_dict({**stored, "resampler": "gone"})
