"""A run from data to pictures: its phases, its folder, its scores."""
