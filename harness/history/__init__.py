"""What clients saw (`recorder`, `operations`) and what it proves (`checkers`)."""
