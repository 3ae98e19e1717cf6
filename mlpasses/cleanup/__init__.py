"""Passes that leave a program's results as they are and tidy it up."""
