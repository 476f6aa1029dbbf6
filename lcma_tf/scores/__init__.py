"""What a density says of one image beside others of its kind: scores with a threshold and a place."""
