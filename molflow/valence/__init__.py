"""Bonds, angles, torsions and their couplings as a formula that is fitted to forces."""
