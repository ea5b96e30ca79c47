"""Heads that drive features and answers."""
