"""Networks of well-kept packages with random weights, as their users build them: `nox -s models`, not in CI."""
