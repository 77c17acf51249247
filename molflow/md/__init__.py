"""Molecular dynamics with OpenMM: systems, simulation, energies and umbrella sampling."""
