"""Is an answer right? One file a reward; `judge` brings them together."""
