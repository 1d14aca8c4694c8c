-- Zones that vehicles keep to by themselves. Where two overlap the one that is earlier in its file,
-- with the lower rank, decides alone.
ALTER TABLE fleet.zone ADD COLUMN rank integer NOT NULL DEFAULT 0;
ALTER TABLE fleet.zone DROP CONSTRAINT zone_kind_check;
ALTER TABLE fleet.zone ADD CONSTRAINT zone_kind_check
    CHECK (kind IN ('service_area', 'no_parking', 'slow', 'no_go'));
