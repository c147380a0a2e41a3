"""What takes too long for every run of the tests: made by a nox session, kept as JSON, held to the code by a test."""
