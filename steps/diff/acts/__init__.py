"""Features taken away and added."""
