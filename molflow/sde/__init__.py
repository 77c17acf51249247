"""Stochastic differential equations with additive noise, and toy systems with exact answers."""
