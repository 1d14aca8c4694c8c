-- Running meters are looked at every few seconds.
CREATE INDEX rental_under_way ON booking.rental (id) WHERE state IN ('riding', 'pausing', 'paused', 'resuming');

-- What was asked of a vehicle last.
CREATE INDEX command_of_vehicle ON booking.command (vehicle_id, asked_at DESC, id DESC);
