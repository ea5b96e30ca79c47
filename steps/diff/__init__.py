"""What visual tuning changed inside the language model: activations, dictionaries, comparison."""
