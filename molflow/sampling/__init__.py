"""From a checkpoint to an ensemble in a file."""
