"""The ways to post-train a base: TRL's trainers on equal terms, one thin file each."""

import os
import sys

# TRL tells its makers which trainer runs; nothing leaves this machine unasked. It is read when
# huggingface_hub is first imported, so it is set before any file of this wing can do that.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if not sys.stderr.isatty():  # progress bars are for people; logs get plain lines
    os.environ.setdefault("TQDM_DISABLE", "1")
