"""Trajectories of many chains from a map of Langevin dynamics."""
