"""Battery controllers the agent can read: one wire language a file."""
