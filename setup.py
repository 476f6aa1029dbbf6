"""The packages of a wheel: what pyproject.toml says of setuptools cannot do both of this.

All folders of `lcma_tf`, found, and the flag files of `configs/` inside as `lcma_tf.configs`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["lcma_tf", "lcma_tf.*"]), "lcma_tf.configs"],
    package_dir={"lcma_tf.configs": "configs"},
    package_data={"lcma_tf.configs": ["*.flags", "README.md"]},
    # Not `build`, which a file system without case takes for the file `BUILD`.
    options={"build": {"build_base": ".build"}},
)
