"""Tests of the steps, of the tutorial's own rules, and of the pages in a real browser."""
