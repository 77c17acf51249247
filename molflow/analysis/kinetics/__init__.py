"""What the order in time tells: memory, passages, slow modes, temperatures."""
