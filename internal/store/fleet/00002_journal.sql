-- What was acknowledged and does not stand in blocks yet: a row for each group of
-- additions that shared a commit, in their order. See fleetjournal.go.

-- +goose Up

CREATE TABLE journal (
    n    BIGINT NOT NULL, -- of its last block
    data BYTEA  NOT NULL
);
