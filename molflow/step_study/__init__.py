"""Quality against network calls: one checkpoint at several numbers of steps."""
