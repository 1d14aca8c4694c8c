"""The way up: what may be in flight, when it is sent again, and the connection it goes over."""
