"""Strong maps of Langevin dynamics with inertia."""
