"""Worlds of facts as training text: single facts, chains of two, and lines that repeat entities."""
