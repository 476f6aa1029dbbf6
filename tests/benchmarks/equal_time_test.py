"""Runs at equal time: the table and the picture of what they left, and the peer's own training."""

import json

import numpy as np
import pytest

from benchmarks import equal_time
from benchmarks.contenders import missing_packages

CELL = {
    "flow": {"flow": "realnvp", "alpha": 0.2},
    "train": {"split_rule": "none", "optimizer": "muon", "channel_rotation": "klt"},
    "curve": {"step": [10, 20], "val_bits_per_dim": [5.0, 4.0]},
    "cpu_seconds": 60.0,
    "metrics": {"test_bits_per_dim": 4.1, "num_parameters": 1234},
}


def written(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_table_has_the_best_first_and_the_time_of_the_whole_run(tmp_path, capsys):
    cells = written(tmp_path / "cells.jsonl", CELL)
    lines = [{"cpu_seconds": 30.0 * epoch, "val_bits_per_dim": 4.5 - epoch / 2} for epoch in (1, 2)]
    lines[-1] |= {"test_bits_per_dim": 3.6, "num_parameters": 99}
    peer = written(tmp_path / "peer.jsonl", *lines)
    picture = tmp_path / "curves.png"
    equal_time.main([f"--cells={cells}", f"--normflows={peer}", f"--output={picture}"])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| normflows' Glow, adam | 99 | 60 | 3.500 | 3.600 |",
        "| lcma_tf's RealNVP, rule none, muon, colours turned, alpha 0.2 | 1,234 | 60 | 4.000 | 4.100 |",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(
    bool(missing_packages("normflows_glow")), reason="PyTorch or normflows is not installed"
)
def test_the_peer_learns_and_says_so(tmp_path):
    from benchmarks import normflows_training

    rng = np.random.default_rng(0)
    shades = rng.integers(0, 250, (16, 1, 1, 1)) + rng.integers(0, 4, (16, 16, 16, 3))
    train, held_out = np.split(shades.astype(np.uint8), 2)
    np.savez(tmp_path / "images.npz", train=train, validation=held_out, test=held_out)
    options = {"train_steps": 30, "steps_per_epoch": 10, "batch_size": 4, "warmup_steps": 2}
    options |= {"levels": 2, "steps_per_level": 1, "width": 4, "output": tmp_path / "curve.jsonl"}
    flags = [f"--{name}={value}" for name, value in options.items()]
    normflows_training.main([f"--images={tmp_path / 'images.npz'}", *flags])
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1]["val_bits_per_dim"] < lines[0]["val_bits_per_dim"]
    assert lines[-1]["test_bits_per_dim"] == pytest.approx(lines[-1]["val_bits_per_dim"], abs=0.2)
