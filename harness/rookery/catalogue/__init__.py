"""The scenarios there are: how pytest finds them, what each says of itself, and what came of it last.

A scenario says in its docstring what it reproduces and what it needs, and by markers how long it may take and of which
tier it is (docs/writing-scenarios.md); `rookery scenarios` and docs/scenarios.md are made of that and of nothing else.
"""
