"""Games of Atari, spoken of from their memory, and Pong from its frames too."""
