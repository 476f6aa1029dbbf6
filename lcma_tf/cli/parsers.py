"""What the text of a flag may be, where absl has no such kind."""

from __future__ import annotations

from absl import flags

from lcma_tf.files.paths import expanded

__all__ = ["IntsParser", "PathParser"]


class PathParser(flags.ArgumentParser):
    """A path whose `~` is the home folder: a shell leaves that of `--workdir=~/runs` alone."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        return expanded(argument)


class IntsParser(flags.ArgumentParser):
    """Whole numbers with commas between them."""

    syntactic_help = "whole numbers, as 16,16,32"

    def parse(self, argument: str) -> tuple[int, ...]:
        parts = [part.strip() for part in argument.split(",")]
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(f"must be whole numbers with commas between them; got {argument!r}")
        return tuple(map(int, parts))
