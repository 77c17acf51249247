"""Potentials as OpenMM systems, through OpenMM-ML; packages are imported when one is built."""
