"""Code that is passed around and does not work: each piece is shown on a page, and seen to fail."""
