-- What a vehicle is by its own type, and how far a full battery takes it; null until fleet says.
ALTER TABLE booking.vehicle ADD COLUMN vehicle_type_id text;
ALTER TABLE booking.vehicle ADD COLUMN max_range_m integer;
