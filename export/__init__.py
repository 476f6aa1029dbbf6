"""Publishing of trained flows as SavedModels; nothing is published from here yet (README, Serving)."""
