"""The same scenarios on a real server and in the runner: what page and app see."""
