"""The package: what is declared, what is built of it, and that what was built runs by itself.

Nothing is fetched: it is built with the setuptools that is installed, and installed without its
dependencies, which this Python has.
"""

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import commands
import lcma_tf
from lcma_tf.cli.named_configs import config_names

ROOT = commands.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SCRIPTS = PROJECT["scripts"]
FOLDERS = ("benchmarks", "configs", "docs", "export", "lcma_tf", "notebooks", "tests", "typings")
# A flag of each, that its `--help` must list.
FLAG = {
    "lcma-train": "--train_steps",
    "lcma-evaluate": "--num_importance_samples",
    "lcma-sample": "--temperature",
    "lcma-ablation": "--split_rules",
    "lcma-calibrate": "--false_alarm_rate",
    "lcma-evaluate-scores": "--anomalous",
    "lcma-export": "--export_dir",
    "lcma-score-beam": "--beam_flags",
    "lcma-score-images": "--resize",
    "lcma-score": "--protocol",
    "lcma-verify": "--expected",
}


def requirements(name):
    lines = (ROOT / name).read_text().splitlines()
    return sorted(line for line in lines if not line.startswith("#"))


def test_the_requirement_files_say_what_pyproject_says():
    core = PROJECT["dependencies"]
    assert requirements("requirements.txt") == sorted([*core, *EXTRAS["plots"], *EXTRAS["data"]])
    assert requirements("requirements-dev.txt") == sorted([*EXTRAS["grpc"], *EXTRAS["dev"]])
    assert requirements("requirements-docs.txt") == sorted(EXTRAS["docs"])


def test_each_script_is_a_function():
    assert set(SCRIPTS) == set(FLAG)
    for place in SCRIPTS.values():
        module, _, function = place.partition(":")
        assert module.startswith("lcma_tf.")  # All that a wheel has.
        assert callable(getattr(importlib.import_module(module), function))


class Built:
    """Both distributions, and the wheel installed into a folder of its own."""

    def __init__(self, folder):
        self.source = folder / "source"
        self.site, self.elsewhere = folder / "site", folder / "elsewhere"
        self.elsewhere.mkdir()
        self._copy_source()
        dist = folder / "dist"
        # The wheel is built from the source distribution.
        self._python("-m", "build", "--no-isolation", "--outdir", dist, self.source)
        (self.sdist,), (self.wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
        pip = ["-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--quiet"]
        self._python(*pip, "--target", self.site, self.wheel)

    def start(self, script, *argv, **environment):
        """A script, where nothing of the checkout can be imported."""
        return subprocess.Popen(
            [sys.executable, self.site / "bin" / script, *argv],
            cwd=self.elsewhere,
            env={**os.environ, "PYTHONPATH": str(self.site), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script, *argv):
        started = self.start(script, *argv)
        out, err = started.communicate()
        assert started.returncode == 0, err
        return out

    def _copy_source(self):
        """Setuptools leaves folders where it builds."""
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, self.source / folder, ignore=ignored)
        for path in ROOT.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copy(path, self.source)

    def _python(self, *argv):
        done = subprocess.run(
            [sys.executable, *argv], cwd=self.elsewhere, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return Built(tmp_path_factory.mktemp("package"))


def paths_below(folder, *parts):
    found = (path for part in parts for path in (folder / part).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix() for path in found if "__pycache__" not in path.parts
    }


def test_a_wheel_holds_the_package_alone(built):
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    infos = {name for name in names if name.startswith(f"lcma_tf-{lcma_tf.__version__}.dist-info/")}
    configs = {f"lcma_tf/configs/{name}.flags" for name in config_names()}
    modules = {name for name in paths_below(ROOT, "lcma_tf") if name.endswith(".py")}
    assert infos and names - infos == modules | configs | {"lcma_tf/configs/README.md"}


def test_it_has_the_version_and_the_extras_that_are_declared(built):
    (found,) = importlib.metadata.distributions(path=[str(built.site)])
    assert (found.name, found.version) == ("lcma_tf", lcma_tf.__version__)
    assert set(found.metadata.get_all("Provides-Extra")) == set(EXTRAS)
    required = [re.split(r"[^\w.-]", text)[0] for text in found.requires if "extra ==" not in text]
    assert sorted(required) == sorted(re.split(r"[^\w.-]", x)[0] for x in PROJECT["dependencies"])
    assert "matplotlib" not in required and "scikit-image" not in required


def test_a_source_distribution_can_be_tested(built):
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    at_the_root = {
        "BUILD",
        "README.md",
        "LICENSE",
        "CONTRIBUTING.md",
        "mkdocs.yml",
        "pyproject.toml",
        "setup.py",
    }
    at_the_root |= {path.name for path in ROOT.glob("requirements*.txt")}
    assert at_the_root | paths_below(built.source, *FOLDERS) <= names


def test_help_of_each_script_lists_its_flags(built):
    started = {name: built.start(name, "--help", PYTHONPROFILEIMPORTTIME="1") for name in SCRIPTS}
    for name, process in started.items():
        out, imported = process.communicate()
        assert f"{FLAG[name]}" in out and f"`{name}" in out, name
        assert re.search(r"\| +lcma_tf$", imported, re.M), name
        if name != "lcma-verify":  # It reads the records of TensorFlow.
            assert not re.search(r"\| +(tensorflow|keras|matplotlib|skimage)$", imported, re.M), (
                name
            )


def test_the_pipeline_runs_from_another_folder(built):
    dataset = commands.write_npz(built.elsewhere / "images.npz")
    tiny = {**commands.TINY, "train_steps": 2, "warmup_steps": 0, "split_rule": "realnvp"}
    built.run("lcma-train", "--config=quickstart", *commands.as_flags(dataset=dataset, **tiny))
    workdir = built.elsewhere / "runs" / "quickstart"  # As the configuration says.
    assert {"metrics.json", "model.keras", "samples.png", "training.png"} <= set(
        os.listdir(workdir)
    )
    out = built.run("lcma-export", "--workdir=runs/quickstart", "--export_dir=models/flow")
    version = built.elsewhere / "models" / "flow" / "1"
    assert Path(out.splitlines()[-1]) == Path("models/flow/1") and version.is_dir()
    command = "lcma-export --workdir=runs/quickstart --export_dir=models/flow"
    assert command in (version / "MODEL_CARD.md").read_text()


def test_it_is_the_installed_package_that_runs(built):
    (built.site / "bin" / "where").write_text("import lcma_tf; print(lcma_tf.__file__)")
    assert Path(built.run("where").strip()) == built.site / "lcma_tf" / "__init__.py"
