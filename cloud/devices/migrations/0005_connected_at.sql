-- Since when the present connection is there; null for one that began before this was noted.
ALTER TABLE devices.presence ADD COLUMN connected_at timestamptz;
