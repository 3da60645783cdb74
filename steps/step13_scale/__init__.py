"""One step of the tutorial: a whole program that imports no other step."""
