"""Questions of one's own, from files: read, filtered, split, and written as the world's are."""
