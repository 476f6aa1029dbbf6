"""What is installed on request alone, the extras of the package: one sentence for who lacks one."""

import importlib.util

from lcma_tf.errors import UserError

__all__ = ["MissingExtraError", "require_extra"]


class MissingExtraError(UserError, ImportError):
    """A package that an extra brings is not installed; the message says how to get it."""


def require_extra(module: str, extra: str, purpose: str, package: str | None = None) -> None:
    """Raises `MissingExtraError` unless `module` can be imported; it is looked for, not imported.

    Args:
        module: top-level.
        extra: of pyproject.toml, that which brings it.
        purpose: what it is needed for, after "to".
        package: what `pip` calls it; None = by the name of the module.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(
            f"`{module}` must be installed to {purpose}; it is not: run "
            f'`pip install "lcma_tf[{extra}]"`, or `pip install {package or module}`.'
        )
