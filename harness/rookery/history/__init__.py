"""What clients saw (`recorder`, `operations`, `rows`), what that proves (`checkers`), and what tries those
(`generated`)."""
