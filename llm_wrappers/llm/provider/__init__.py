"""litellm behind the `Transport` protocol: how a model is reached, and what can go wrong."""
