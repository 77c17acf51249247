"""From a molecule as people have it to the folder of a system that every verb takes."""
