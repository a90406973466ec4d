-- +goose Up

-- Where a record belongs. Those from before have no place: they are everybody's
-- who is bound to none.
ALTER TABLE record ADD COLUMN organisation TEXT NOT NULL DEFAULT '';
ALTER TABLE record ADD COLUMN facility     TEXT NOT NULL DEFAULT '';

-- A facility's list is a few records among many.
CREATE INDEX record_place ON record (organisation, facility, id);
