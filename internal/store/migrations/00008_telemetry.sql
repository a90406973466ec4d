-- Roots of readings are logged too: of which device, and from when.

-- +goose Up

ALTER TABLE outbox ADD COLUMN device BYTEA;
ALTER TABLE outbox ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN gap BIGINT NOT NULL DEFAULT 0;
