"""What is looked at rather than trained: where time goes, gradients, versions."""
