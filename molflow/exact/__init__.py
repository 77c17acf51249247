"""Maps with densities: the probability flow, its Jacobians, weights, and estimates over levels."""
