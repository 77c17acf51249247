"""The strong map of overdamped Langevin dynamics."""
