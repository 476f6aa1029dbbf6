"""The layers of `BUILD` hold: who imports whom, what stays free of TensorFlow, where flags live.

The second half proves on small made-up trees that each of these checks can fail.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from layer_map import problems, read_targets, source_files
from source_imports import Import, is_within, read_imports

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = [file for file in source_files(ROOT) if not file.startswith("tests/")]
TENSORFLOW = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow_probability",
    "tensorflow_datasets",
)
# What makes `import lcma_tf` slow is imported where it is used. The data set's builder is a class
# over TensorFlow Datasets; the module that holds it is itself imported where it is used.
IMPORTED_WHERE_USED = ("tensorflow_datasets", "matplotlib")
HOLDS_A_DATASET_BUILDER = ("lcma_tf/data/sources/photo_patches_builder.py",)
FLAGS = tuple(f"lcma_tf/cli/{name}.py" for name in ("definitions", "flags", "parsers", "run_flags"))


def offences(files, packages: tuple[str, ...], root: Path = ROOT, lazy_too: bool = True):
    """Where one of `files` imports one of `packages`, as `file:line imports module`."""
    return [
        f"{file}:{imported.line} imports {imported.module}"
        for file in files
        for imported in read_imports(root, file)
        if is_within(imported.module, packages) and (lazy_too or not imported.lazy)
    ]


def test_imports_and_build_agree_both_ways():
    found = problems(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_a_long_file_says_why():
    long = [file for file in PRODUCT if len((ROOT / file).read_text().splitlines()) > 250]
    silent = [file for file in long if "One long file, " not in (ROOT / file).read_text()]
    assert not silent


def test_only_flag_config_touches_flags():
    assert not offences([file for file in PRODUCT if file not in FLAGS], ("absl.flags",))


@pytest.mark.parametrize(
    "layer",
    ["core", "plots", "clean_run", "study_config", "files", "factorization", "image_files", "cli"],
)
def test_layers_of_plain_numpy_import_no_tensorflow(layer):
    assert not offences(read_targets(ROOT)[layer].srcs, TENSORFLOW)


def test_heavy_packages_are_imported_where_they_are_used():
    files = [file for file in PRODUCT if file not in HOLDS_A_DATASET_BUILDER]
    assert not offences(files, IMPORTED_WHERE_USED, lazy_too=False)


@pytest.mark.parametrize(
    "module",
    ["lcma_tf", "lcma_tf.factorization", "lcma_tf.plots", "export.client", "export.rest_client"],
)
def test_light_modules_load_no_tensorflow(module):
    heavy = (*TENSORFLOW, "matplotlib")
    code = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


# From here on: the checks above can fail.

BUILD_OF_TWO_LAYERS = """
py_library(name = "low", srcs = glob(["lcma_tf/low/*.py"]))
py_library(name = "high", srcs = ["lcma_tf/high.py"], deps = [":low"])
py_test(name = "high_test", size = "small", srcs = ["tests/high_test.py"], deps = [":high"])
"""
TARGET_OF_INIT = 'py_library(name = "lcma_tf", srcs = ["lcma_tf/__init__.py"])'
FILES_OF_TWO_LAYERS = {
    "lcma_tf/low/__init__.py": "",
    "lcma_tf/low/part.py": "import numpy\n",
    "lcma_tf/high.py": "from lcma_tf.low import part\n",
    "tests/high_test.py": "from lcma_tf import high\n",
}


def tree(root: Path, changes: dict[str, str] | None = None, more_targets: str = "") -> Path:
    """Two layers that agree with their BUILD, but for the changed files and further targets."""
    build = {"BUILD": BUILD_OF_TWO_LAYERS + more_targets}
    for name, text in {**FILES_OF_TWO_LAYERS, **(changes or {}), **build}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_tree_that_agrees_has_no_problems(tmp_path):
    assert problems(tree(tmp_path)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "from lcma_tf import high",
        "from lcma_tf.high import anything",
        "import lcma_tf.high as h",
        "from .. import high",
        "from ..high import anything",
        "def f():\n    from lcma_tf import high",
        "if TYPE_CHECKING:\n    from lcma_tf.high import Name",
        "import importlib\nimportlib.import_module('lcma_tf.high')",
    ],
)
def test_a_forbidden_import_is_found_however_it_is_written(tmp_path, statement):
    (problem,) = problems(tree(tmp_path, {"lcma_tf/low/part.py": statement + "\n"}))
    assert problem.startswith("lcma_tf/low/part.py:") and "not among the deps of low" in problem


def test_an_unused_dep_is_found(tmp_path):
    (problem,) = problems(tree(tmp_path, {"lcma_tf/high.py": "import numpy\n"}))
    assert problem == "Target high declares the dep low, but no file of it imports it."


def test_files_without_a_target_are_found(tmp_path):
    strays = ("lcma_tf/stray.py", "export/stray.py", "tests/stray_test.py")
    found = problems(tree(tmp_path, dict.fromkeys(strays, "")))
    for file in strays:
        assert f"{file} must be in exactly one target of BUILD, found in 0." in found
    assert "tests/stray_test.py has no py_test target named stray_test." in found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('py_library(name = "twin", srcs = ["lcma_tf/high.py"])', "found in 2"),
        ('py_library(name = "gone", srcs = ["lcma_tf/gone.py"])', "which does not exist"),
        ('py_library(name = "empty", srcs = glob(["lcma_tf/no/*.py"]))', "holds no file"),
        ('py_library(name = "x", srcs = [], deps = [":y"])', "depends on y, which BUILD does not"),
        ('py_test(name = "gone_test", size = "small", srcs = [])', "must have the one source"),
        ('py_test(name = "sizeless_test", srcs = ["tests/sizeless_test.py"])', "state a size"),
        ('py_library(name = "me", srcs = [], deps = [":me"])', "Target me depends on itself"),
    ],
)
def test_a_wrong_target_is_found(tmp_path, line, message):
    found = problems(tree(tmp_path, more_targets=line))
    assert any(message in problem for problem in found), found


FOLDER_OF_TESTS = """
[py_test(
    name = file.split("/")[-1].removesuffix(".py"),
    size = "small",
    srcs = [file],
    deps = [":low"],
) for file in glob(["tests/low/*_test.py"])]
"""


def test_a_folder_of_tests_is_a_target_for_each_file(tmp_path):
    imports = "from lcma_tf import low\nimport shared\n"
    files = {f"tests/low/{name}_test.py": imports for name in "ab"}
    folder = tree(tmp_path, files, FOLDER_OF_TESTS)
    targets = read_targets(folder)
    assert [targets[f"{name}_test"].srcs for name in "ab"] == [(file,) for file in files]
    assert problems(folder) == []
    # A helper is imported by its bare name, and a file's import of what its folder may not.
    changes = {"tests/helpers/shared.py": "", "tests/low/a_test.py": "from lcma_tf import high"}
    helper = 'py_library(name = "shared", srcs = ["tests/helpers/shared.py"])'
    first, second = problems(tree(tmp_path, {**files, **changes}, FOLDER_OF_TESTS + helper))
    assert first.startswith(
        "tests/low/a_test.py:1 imports lcma_tf.high of layer high, which is not"
    )
    assert second.startswith("tests/low/b_test.py:2 imports shared of layer shared, which is not")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tests/low/", "tests/none/", "each `file` there is"),
        ("for file in glob", "for file, in glob", "each `file` there is"),
        ('"])]', '"]) if file != "tests/low/a_test.py"]', "each `file` there is"),
        ('removesuffix(".py")', 'removesuffix("_test.py")', "must have name = "),
        ("[file]", '[file, "tests/high_test.py"]', "must have name = "),
    ],
)
def test_a_folder_of_tests_that_leaves_some_out_is_refused(tmp_path, old, new, message):
    assert FOLDER_OF_TESTS.count(old) == 1
    more = FOLDER_OF_TESTS.replace(old, new)
    with pytest.raises(ValueError, match=message):
        problems(tree(tmp_path, {"tests/low/a_test.py": ""}, more))


def test_what_a_glob_leaves_out_is_not_in_the_target(tmp_path):
    rest = 'py_library(name = "rest", srcs = glob(["lcma_tf/low/*.py"], exclude = ["*/*/part.py"]))'
    targets = read_targets(tree(tmp_path, more_targets=rest))
    assert targets["low"].srcs == ("lcma_tf/low/__init__.py", "lcma_tf/low/part.py")
    assert targets["rest"].srcs == ("lcma_tf/low/__init__.py",)


def test_two_targets_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two targets named 'low'"):
        problems(tree(tmp_path, more_targets=BUILD_OF_TWO_LAYERS))


@pytest.mark.parametrize("spelling", ["lcma_tf.high", ".high", "high"])
def test_the_table_of_a_lazy_package_counts_as_imports(tmp_path, spelling):
    table = f'"""A docstring about high."""\n_EXPORTS = {{"Name": "{spelling}"}}\n'
    (problem,) = problems(tree(tmp_path, {"lcma_tf/__init__.py": table}, TARGET_OF_INIT))
    assert problem.startswith("lcma_tf/__init__.py:2 imports lcma_tf.high of layer high")


def test_a_name_of_the_package_leads_to_its_init(tmp_path):
    changes = {"lcma_tf/__init__.py": "", "tests/high_test.py": "from lcma_tf import Name\n"}
    (problem,) = problems(tree(tmp_path, changes, TARGET_OF_INIT))
    assert "imports lcma_tf.Name of layer lcma_tf" in problem


TABLES = 'py_library(name = "tables", srcs = ["lcma_tf/choices.py"])\n'
TABLE = 'T = Choices({"a:": "lcma_tf.high:Thing"})\n'


@pytest.mark.parametrize(
    ("use", "follows"),
    [
        ("T['a:']", True),
        ("for name, thing in T.items(): pass", True),
        ("def f(name):\n    return T[name]", True),
        ("list(T), 'a:' in T, len(T)", False),
        ("T['b'] = 1", False),
    ],
)
def test_to_follow_the_entry_of_a_table_counts_as_an_import(tmp_path, use, follows):
    changes = {
        "lcma_tf/choices.py": TABLE,
        "lcma_tf/low/part.py": f"from lcma_tf.choices import T\n{use}\n",
    }
    found = problems(tree(tmp_path, changes, TABLES))
    expected = ["lcma_tf/low/part.py:1 imports lcma_tf.choices.T of layer tables"]
    expected += ["imports lcma_tf.high of layer high, which is not among the deps of low"] * follows
    assert len(found) == len(expected)
    for problem, words in zip(found, expected, strict=True):
        assert words in problem


@pytest.mark.parametrize(
    "statement",
    ["from absl import flags", "import absl.flags", "from absl.flags import DEFINE_string as d"],
)
def test_flags_are_found(tmp_path, statement):
    tree(tmp_path, {"lcma_tf/high.py": "from absl import app, logging\n" + statement})
    assert len(offences(["lcma_tf/high.py"], ("absl.flags",), tmp_path)) == 1


def test_where_an_import_stands_is_seen(tmp_path):
    source = "import matplotlib\ndef f():\n    import matplotlib.pyplot\n"
    tree(tmp_path, {"lcma_tf/high.py": source})
    assert read_imports(tmp_path, "lcma_tf/high.py") == [
        Import("matplotlib", 1, lazy=False),
        Import("matplotlib.pyplot", 3, lazy=True),
    ]
    assert len(offences(["lcma_tf/high.py"], ("matplotlib",), tmp_path)) == 2
    assert len(offences(["lcma_tf/high.py"], ("matplotlib",), tmp_path, lazy_too=False)) == 1
