"""The front: seeds of one flow and rule are one point; what costs less and scores better is on it."""

import dataclasses
import json

import pytest

import lcma_tf
from benchmarks import front
from lcma_tf.study.cells import Cell

FLOW = lcma_tf.FlowConfig(
    image_shape=(8, 8, 3), num_scales=2, num_couplings=1, base_dim=16, num_residual_blocks=1
)
TRAIN = lcma_tf.TrainConfig(train_steps=10, optimizer="muon", channel_rotation="klt")


def cell(bits, seconds, rule, seed=0, processor="one", flow=FLOW, **changes):
    train = dataclasses.replace(TRAIN, split_rule=rule, seed=seed, **changes).to_dict()
    return Cell(
        flow.to_dict(), train, {}, {"test_bits_per_dim": bits}, {"step": []}, processor, seconds
    )


@pytest.fixture(scope="module")
def cells():
    narrow = dataclasses.replace(FLOW, level_widths=(16, 16))
    return [
        cell(4.0, 100.0, "realnvp"),
        cell(4.1, 200.0, "realnvp", seed=1, processor="another"),
        cell(4.5, 300.0, "lcma", seed=1, processor="another"),
        cell(3.9, 150.0, "none"),
        cell(3.8, 120.0, "none", processor="a third"),  # Newer, so it counts.
        cell(3.95, 90.0, "none", flow=narrow),
        cell(1.0, 1.0, "none", optimizer="adam"),
        cell(1.0, 1.0, "none", train_steps=20),
    ]


def test_a_table_and_a_picture(cells, tmp_path, capsys):
    path = tmp_path / "cells.jsonl"
    path.write_text("".join(json.dumps(dataclasses.asdict(c)) + "\n" for c in cells))
    picture = tmp_path / "front.png"
    front.main([f"--cells={path}", f"--output={picture}", "--train_steps=10"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    found = {row[0]: row[1:] for row in rows}
    assert [row[0] for row in rows] == ["none", "none, level widths 16, 16", "realnvp", "lcma"]
    assert found["none"][0] == "3.800 (1)" and found["realnvp"][0] == "4.050 ± 0.071 (2)"
    assert found["realnvp"][2] == "1.00" and found["lcma"][2] == "1.50"
    assert found["none"][2] == ""  # No static rule beside it.
    assert found["none, level widths 16, 16"][2] == "0.90"
    flops = {name: float(row[1]) for name, row in found.items()}
    assert flops["none, level widths 16, 16"] < flops["realnvp"] == flops["lcma"] < flops["none"]
    on_front = {name for name, row in found.items() if row[-1].endswith("yes")}
    assert on_front == {"none", "none, level widths 16, 16"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_runs_made_again_give_their_time_alone(cells, tmp_path, capsys):
    path, again = tmp_path / "cells.jsonl", tmp_path / "again.jsonl"
    path.write_text("".join(json.dumps(dataclasses.asdict(c)) + "\n" for c in cells))
    repeated = cell(1.0, 240.0, "realnvp", processor="a third")
    again.write_text(json.dumps(dataclasses.asdict(repeated)) + "\n")
    options = [f"--cells={path}", f"--again={again}", f"--output={tmp_path / 'front.png'}"]
    front.main([*options, "--train_steps=10"])
    rows = {line.split(" | ")[0].strip("| "): line for line in capsys.readouterr().out.splitlines()}
    assert "| 0.50 |" in rows["none"] and "4.050 ± 0.071 (2)" in rows["realnvp"]
    front.main([*options, "--train_steps=10", "--reference=none"])
    rows = {line.split(" | ")[0].strip("| "): line for line in capsys.readouterr().out.splitlines()}
    assert "| 2.00 |" in rows["realnvp"] and "| 1.00 |" in rows["none"]
    assert rows["lcma"].endswith("|  |  |")  # Nowhere beside it.


def test_runs_of_another_kind_are_a_point_of_their_own(cells, tmp_path, capsys):
    drawn = dataclasses.replace(FLOW, dequantization="variational")
    others = [
        cell(3.7, 160.0, "none", flow=drawn),
        cell(3.85, 160.0, "none", ema=0.999),
        cell(4.4, 200.0, "lcma", factorize_at_step=4),
        cell(4.2, 200.0, "realnvp", flow=dataclasses.replace(FLOW, base_dim=8), batch_size=8),
        cell(3.6, 200.0, "none", seed=3, flow=dataclasses.replace(FLOW, coupling_masks="aligned")),
    ]
    path = tmp_path / "cells.jsonl"
    path.write_text("".join(json.dumps(dataclasses.asdict(c)) + "\n" for c in (*cells, *others)))
    front.main([f"--cells={path}", f"--output={tmp_path / 'front.png'}", "--train_steps=10"])
    table = capsys.readouterr().out
    assert "| none, dequantization variational | 3.700 (1) |" in table
    assert "| none, ema 0.999 | 3.850 (1) |" in table
    assert "| none | 3.700 ± 0.141 (2) |" in table  # Nothing exits that couplings could follow.
    assert "| realnvp, batch size 8, base dim 8 | 4.200 (1) |" in table
    assert "| lcma, factorize at step 4 | 4.400 (1) |" in table and "| lcma | 4.500 (1) |" in table


def test_no_such_runs_are_told(cells, tmp_path):
    path = tmp_path / "cells.jsonl"
    path.write_text(json.dumps(dataclasses.asdict(cells[0])) + "\n")
    with pytest.raises(SystemExit, match="`cells` must hold runs of .*'train_steps': 2400"):
        front.main([f"--cells={path}", f"--output={tmp_path / 'front.png'}"])
