"""What the cluster says of itself while a scenario runs: watched into events.jsonl, and held against what is expected.

Hints, not proofs: what a scenario waits for, it asks by conditions of its own.
"""
