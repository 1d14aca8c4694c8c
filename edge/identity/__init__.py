"""Who this vehicle is: its key, its certificate, whose certificates and commands it believes."""
