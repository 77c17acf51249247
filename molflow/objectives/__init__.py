"""Losses that teach a strong flow map."""
