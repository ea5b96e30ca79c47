"""Public data in its own layouts, from a local folder, as the probes of the encoder read it."""
