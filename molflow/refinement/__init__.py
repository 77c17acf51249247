"""From the conformations of a map to conformations at temperature, by short damped dynamics."""
