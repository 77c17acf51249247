"""What the maps of Langevin dynamics, with inertia and without, have in common."""
