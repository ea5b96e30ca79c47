"""Credit rules: how an answer's advantage is spread over its tokens.

A rule is a module with `NEEDS`, what it has to be given (`attention`, `entropy`, `drift`,
`depends`; nothing else is computed), and `weigh(seen, told)`, a pure function from `seen.Seen` and
the section `grpo` to `seen.Credit`.
"""
