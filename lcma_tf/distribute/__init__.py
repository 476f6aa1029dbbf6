"""Several devices and several workers: the strategy, what workers share, the pieces of a batch."""
