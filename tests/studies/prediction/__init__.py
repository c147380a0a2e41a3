"""Predictions against neural-tangents', integrations, and training itself."""
