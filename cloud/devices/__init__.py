"""Context devices: who is enrolled, who is connected, and what of each device is committed."""
