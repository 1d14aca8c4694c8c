"""Rentals while everything is killed in turn: the house, its riders, the account at the end."""
