"""The matrix: which combinations of versions a nightly run goes through, and what came of them."""
