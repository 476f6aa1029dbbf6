"""From a flow to a version that a model server loads: written whole, checked, described."""
