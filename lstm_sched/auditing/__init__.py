"""What a boundary in anybody's training code drops."""
