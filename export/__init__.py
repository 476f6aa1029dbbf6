"""Publishing trained flows: SavedModels and the clients that talk to a server of them."""
