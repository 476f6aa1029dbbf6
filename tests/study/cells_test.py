"""The cells that are kept with the project are found, by configs that have come to have more fields."""

import dataclasses
import json
import pathlib

import pytest

from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.study.cells import Cell, Cells

KEPT = sorted((pathlib.Path(__file__).parents[2] / "benchmarks" / "cells").glob("*.jsonl"))


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_what_a_cell_says_nothing_of_has_its_default(path):
    cells = Cells(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines
    for line in lines:
        flow = FlowConfig(**line["flow"])
        found = cells.find(flow, TrainConfig.from_dict(line["train"]), line["images"])
        assert found and found.metrics["test_bits_per_dim"] > 0
        if "coupling" not in line["flow"]:
            assert flow.coupling == "affine"


def test_where_nothing_exits_it_does_not_matter_how_exits_are_coded(tmp_path):
    (first, *_) = KEPT[0].read_text().splitlines()
    cells = Cells(tmp_path / "cells.jsonl")
    cell = Cell(**json.loads(first))
    cells.add(dataclasses.replace(cell, train={**cell.train, "split_rule": "none"}))
    flow = FlowConfig.from_dict(cell.flow)
    other = dataclasses.replace(flow, exit_prior="residual", coupling_masks="aligned")
    train = TrainConfig.from_dict({**cell.train, "split_rule": "none"})
    assert cells.find(other, train, cell.images) is cells.find(flow, train, cell.images) is not None
    swapped = dataclasses.replace(flow, coupling_masks="swapped")
    assert cells.find(swapped, train, cell.images) is None
    train = dataclasses.replace(train, split_rule="lcma")
    assert cells.find(other, train, cell.images) is None


def test_a_last_line_without_its_newline_is_kept(tmp_path):
    (first, *_) = KEPT[0].read_text().splitlines()
    path = tmp_path / "cells.jsonl"
    path.write_text(first)  # As an editor may leave it.
    cells = Cells(path)
    (cell,) = cells
    cells.add(dataclasses.replace(cell, train={**cell.train, "seed": 77}))
    kept, added = path.read_text().splitlines()
    assert kept == first and json.loads(added)["train"]["seed"] == 77
