"""False alarms over divisions: a table of both ways, and fewer where related images are known."""

import numpy as np

import commands
from benchmarks import false_alarms
from testing import tiny_flow


def test_related_images_that_are_known_bring_fewer_alarms(tmp_path, capsys):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 12)
    levels = rng.integers(60, 180, (40, 1, 1, 1))[groups]
    widths = rng.integers(1, 60, (40, 1, 1, 1))[groups]
    images = (levels + widths * rng.uniform(-1, 1, (480, 8, 8, 1))).astype(np.uint8)
    order = rng.permutation(480)
    groups, images = groups[order], images[order]
    chosen = groups < 20
    commands.write_npz(
        tmp_path / "images.npz",
        validation=images[chosen],
        validation_photo=groups[chosen],
        test=images[~chosen],
        test_photo=groups[~chosen],
    )
    model = tiny_flow(image_shape=(8, 8, 1), num_scales=1)
    model.save(tmp_path / "model.keras")
    argv = [f"--workdir={tmp_path / 'model.keras'}", f"--images={tmp_path / 'images.npz'}"]
    false_alarms.main([*argv, "--divisions=5"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][1:]
    rows = [row for row in rows if "---" not in row[0]]
    assert [row[0] for row in rows] == ["| that of the file"] * 2 + ["| 5 at random"] * 2
    alone, together = (float(row[3].split("%")[0]) for row in rows[2:])
    assert together < alone
