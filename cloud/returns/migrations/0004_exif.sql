-- What the camera wrote of itself and the shot, by tag; where it was taken stands in lat and lon.
ALTER TABLE returns.photo ADD COLUMN exif jsonb NOT NULL DEFAULT '{}';
