"""The pages of the steps, as people use them: in a browser."""
