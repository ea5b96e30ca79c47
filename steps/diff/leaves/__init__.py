"""The parts of the atlas's pages."""
