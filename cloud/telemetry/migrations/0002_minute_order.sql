-- Lets the merging of closed minutes find them without reading a whole month.
CREATE INDEX minute_part_by_minute ON telemetry.minute_part
    USING brin (minute) WITH (autosummarize = on);
