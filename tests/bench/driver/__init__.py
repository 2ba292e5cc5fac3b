"""Drives the gateway and its peers over stdio, and measures what they cost. Standard library only."""
