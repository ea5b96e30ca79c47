"""Public data in its own layouts, from a local folder, as the probes of the encoder read it."""

IGNORED = 255
"""In a map: a pixel that is neither learnt from nor scored (VOC's border, ADE20K's other)."""
