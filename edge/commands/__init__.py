"""What the cloud asks for: verified, weighed by local rules, written down, done, answered."""
