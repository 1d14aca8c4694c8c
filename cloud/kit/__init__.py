"""The shared kernel of the cloud: clock, ids, money, database, events, engines. No domain words."""
