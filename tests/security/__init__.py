"""Attacks on the data path, and the races an attacker would look for."""
