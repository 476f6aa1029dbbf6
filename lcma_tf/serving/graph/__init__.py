"""What an export computes: the signatures of a flow, and its decoder of image files."""
