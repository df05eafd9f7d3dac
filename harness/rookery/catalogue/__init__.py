"""The scenarios there are: how pytest finds them, what each says of itself, and what came of it last.

A scenario tells its story in its docstring, and says by markers what it requires, how long it may take and of which
tier it is (docs/writing-scenarios.md); `rookery scenarios` and docs/scenarios.md are made of that and of nothing else.
"""
