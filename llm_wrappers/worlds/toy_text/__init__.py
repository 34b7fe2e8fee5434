"""Gymnasium's toy text: Blackjack and FrozenLake, with exact judges."""
