"""What happened to the eye: the tower taken out of a VLM, its features, the probes on them."""
