"""Sparse dictionaries: how they are fitted, kept, and put in the model's place."""
