"""`python -m export.export_saved_model`: from a finished run to a version, checked, or to nothing."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import commands
import lcma_tf
import lcma_tf.serving.publishing.expected
import lcma_tf.serving.runtime.verify
from lcma_tf.cli.flags import FLAGS
from lcma_tf.serving.publishing.export_flow import export_flow
from lcma_tf.serving.publishing.versions import versions
from lcma_tf.serving.runtime.cpp_session import CppSession
from lcma_tf.serving.runtime.verify import VerificationError
from testing import random_images, tiny_flow

MODULE = "export.export_saved_model"
SIGNATURES = ("log_prob", "log_prob_encoded", "sample", "encode", "decode")
WITH_TWO_REPLICAS = """
import sys

import tensorflow as tf

from lcma_tf.serving.publishing.export_flow import export_flow
from lcma_tf import NegativeLogLikelihood
from lcma_tf.distribute.strategy import make_strategy
from lcma_tf.model.fused_adam import FusedAdam
from testing import random_images, tiny_flow

with make_strategy(2, 8).scope():
    model = tiny_flow(random_weights=None)
    model.compile(FusedAdam(1e-2), NegativeLogLikelihood(), jit_compile=False)
images = random_images(8, (4, 4, 2)) // 2
model.fit(tf.data.Dataset.from_tensors(images).repeat(4), verbose=0)
model.save(sys.argv[1] + "/model.keras")
print(export_flow(model, sys.argv[1] + "/models"))
"""


@pytest.fixture
def small(tmp_path):
    """A model, and a folder with one version in it."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("old")
    return tiny_flow(num_scales=1), tmp_path


def test_what_the_run_trained_is_published(exported):
    assert exported.out.splitlines()[-1] == str(exported.version)
    images = random_images(64, commands.SHAPE)
    with CppSession(exported.version) as session:
        assert set(session.signatures) == {*SIGNATURES, "serving_default"}
        scores = session.run("log_prob", {"images": images})["log_prob"]
    model = lcma_tf.load(exported.workdir)
    np.testing.assert_allclose(scores, model.log_prob(images, seed=0), rtol=1e-5)
    for name in SIGNATURES:
        assert f"\n{name}: first run " in exported.out
    assert f"values stored for {model.num_parameters:,} parameters" in exported.out


def test_a_version_holds_what_a_server_and_its_operator_need(exported):
    found = {p.relative_to(exported.version).as_posix() for p in exported.version.rglob("*")}
    assert {
        "saved_model.pb",
        "variables/variables.index",
        "assets.extra/tf_serving_warmup_requests",
        "MODEL_CARD.md",
    } < found
    assert [path.name for path in exported.version.parent.iterdir()] == ["1"]


def test_the_card_says_what_it_is(exported):
    card = (exported.version / "MODEL_CARD.md").read_text()
    metrics = json.loads((exported.workdir / "metrics.json").read_text())
    for text in (
        f"| data set | {metrics['dataset']} |",
        f"| test | {metrics['test_bits_per_dim']:.4f} bits/dim |",
        "| split rule | lcma |",
        f"| parameters | {metrics['num_parameters']:,} |",
        "| JPEG method | INTEGER_ACCURATE |",
        "| several runs at once | each as if it were alone",
        "| noise of scores | seed 0, 1 draw(s) |",
        "N is the number of rows, 1 to 64;",
        "| `log_prob` | `images` uint8 `[N, 8, 8, 3]` | `log_prob` float32 `[N]`, `bits_per_dim` ",
        "| `sample` | `seed` int32 `[N, 2]`, `temperature` float32 `[N]` | `images` uint8 ",
        f"python -m {MODULE} --workdir={exported.workdir}",
    ):
        assert text.lower() in card.lower(), text
    assert "{" not in card


def test_a_model_that_was_never_evaluated_says_so(small):
    model, folder = small
    version = export_flow(model, folder, noise_seed=3, num_importance_samples=2, max_batch_size=5)
    assert version == folder / "2"
    card = (version / "MODEL_CARD.md").read_text()
    assert "| data set | unknown: the model was not evaluated by a run |" in card
    assert "| test | not measured |" in card and "seed 3, 2 draw(s)" in card
    images = random_images(5, (4, 4, 2))
    with CppSession(version) as session:
        # There are no PNG or JPEG files of two channels.
        assert "log_prob_encoded" not in session.signatures and "encoded" not in card
        scores = session.run("log_prob", {"images": images})["log_prob"]
    np.testing.assert_allclose(scores, model.log_prob(images, 3, 2), rtol=1e-5)
    assert (folder / "1" / "saved_model.pb").read_text() == "old"


def test_what_does_not_say_what_the_model_says_is_not_published(small, monkeypatch):
    model, folder = small
    right = lcma_tf.serving.publishing.expected.expected_outputs

    def wrong(*arguments):
        expected = right(*arguments)
        return expected | {"log_prob/log_prob": expected["log_prob/log_prob"] * 1.001}

    monkeypatch.setattr(lcma_tf.serving.publishing.expected, "expected_outputs", wrong)
    with pytest.raises(VerificationError, match="log_prob/log_prob must equal what the model says"):
        export_flow(model, folder)
    assert [path.name for path in folder.iterdir()] == ["1"]


def test_an_interruption_leaves_no_version(small, monkeypatch):
    model, folder = small
    seen = []

    def interrupted(path, *arguments, **settings):
        seen.extend(entry.name for entry in folder.iterdir())
        assert (path / "saved_model.pb").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(lcma_tf.serving.runtime.verify, "verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_flow(model, folder)
    assert [path.name for path in folder.iterdir()] == ["1"] and len(seen) == 2
    assert versions(folder) == [1]


def test_a_model_trained_on_two_replicas_is_published(tmp_path):
    root = pathlib.Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", WITH_TWO_REPLICAS, str(tmp_path)],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'tests' / 'helpers'}", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    version = pathlib.Path(ended.stdout.splitlines()[-1])
    images = random_images(8, (4, 4, 2))
    with CppSession(version) as session:
        scores = session.run("log_prob", {"images": images})["log_prob"]
    model = lcma_tf.load(tmp_path / "model.keras")
    np.testing.assert_allclose(scores, model.log_prob(images), rtol=1e-5)
    fresh = tiny_flow(random_weights=None).log_prob(images).numpy()
    assert np.abs(scores - fresh).min() > 1e-2


BAD = {
    "no run": ({"workdir": "{}/none", "export_dir": "{}/m"}, "`workdir` there is no /none"),
    "empty run": ({"workdir": "{}", "export_dir": "{}/m"}, "`workdir` finished"),
    "a file": ({"workdir": "{}", "export_dir": "{}/file"}, "`export_dir` folder file"),
    "no folder": ({"workdir": "{}", "export_dir": ""}, "`export_dir` folder ''"),
    "no rows": ({"workdir": "{}", "export_dir": "{}/m", "max_batch_size": 0}, "max_batch_size 0"),
    "no draw": (
        {"workdir": "{}", "export_dir": "{}/m", "num_importance_samples": 0},
        "num_importance_samples 1 0",
    ),
    "method": ({"workdir": "{}", "export_dir": "{}/m", "jpeg_method": "x"}, "jpeg_method 'x'"),
    "seed": ({"workdir": "{}", "export_dir": "{}/m", "seed": -1}, "seed"),
    "torn metrics": ({"workdir": "{}/torn", "export_dir": "{}/m"}, "`workdir` metrics.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_sentence_and_writes_nothing(tmp_path, name):
    values, words = BAD[name]
    (tmp_path / "file").write_text("")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "metrics.json").write_text('{"steps": ')
    before = commands.files(tmp_path)
    commands.assert_refused(commands.call(MODULE, *commands.flags_in(tmp_path, values)), words)
    assert commands.files(tmp_path) == before
    assert "export_dir" not in FLAGS
