"""How far features turn, and beside what."""
