"""Quality against evaluations: one checkpoint at several numbers of steps."""
