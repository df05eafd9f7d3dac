"""The scenarios there are: how pytest finds them, what each says of itself, and what came of it last.

A scenario says what it reproduces, what it needs and how long it may take in its docstring (docs/writing-scenarios.md);
`rookery scenarios` and docs/scenarios.md are made of that and of nothing else.
"""
