"""What moves and stops the vehicle: the lock unit, or what stands in for it."""
