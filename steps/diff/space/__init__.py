"""Features that tell where things are."""
