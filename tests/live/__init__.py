"""Every step in the reader's browser: what holds for the runner on the pages."""
