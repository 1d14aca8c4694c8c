"""The long loss stories of `make faults` and `make soak`."""
