"""Reference integrators, one scheme a file, driven by a given Brownian path."""
