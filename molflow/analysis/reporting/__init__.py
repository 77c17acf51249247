"""The report and its pictures, and the conformations that it shows."""
