"""Robots of MuJoCo: what their joints do, in words."""
