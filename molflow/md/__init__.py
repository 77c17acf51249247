"""Molecular dynamics with OpenMM: systems, simulation, energies and metadynamics."""
