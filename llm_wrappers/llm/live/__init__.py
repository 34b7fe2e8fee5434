"""Sources that ask while an agent trains."""
