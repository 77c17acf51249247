"""Maps of a dear potential by few labels: the map itself looks for frames it does not know yet."""
