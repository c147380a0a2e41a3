"""The examples, run at a small size."""
