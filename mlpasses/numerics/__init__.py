"""Numerics: functions from arrays to arrays. Nothing here knows of graphs."""
