"""Gymnasium's classic control: captioners, judges and potentials."""
