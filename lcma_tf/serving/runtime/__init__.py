"""SavedModels run as a server runs them, by the C++ code, and held to what their maker said."""
