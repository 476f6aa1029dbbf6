"""What a run tells its user."""

__all__ = ["say"]


def say(line: str) -> None:
    """One line about what the run does, among the progress bars."""
    print(f"[lcma_tf] {line}", flush=True)
