-- An accepted rental is charged when its lock has answered, or did not in time: until then it keeps what is charged beside the ride.
ALTER TABLE booking.rental ADD COLUMN fees jsonb NOT NULL DEFAULT '[]';
