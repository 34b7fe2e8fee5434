"""What guidance is compared with: methods of others that need no language model."""
