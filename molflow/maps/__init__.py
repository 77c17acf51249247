"""One room for each kind of map; `molflow.training.kinds` says what a room has to offer."""
