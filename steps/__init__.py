"""The steps: each folder is a whole program and imports no other step."""
