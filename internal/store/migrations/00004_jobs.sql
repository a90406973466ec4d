-- +goose Up

-- A bulk upload and its rows. They are in no backup: the file is with whoever sent
-- it, and a row that is uploaded again under its series is not issued again.
CREATE TABLE job (
    id           BYTEA  NOT NULL PRIMARY KEY, -- UUIDv7
    version      BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    about        TEXT   NOT NULL, -- JSON; nothing personal
    created      BIGINT NOT NULL,
    changed      BIGINT NOT NULL,
    started      BIGINT NOT NULL,
    ended        BIGINT NOT NULL,
    total        BIGINT NOT NULL,
    ready        BIGINT NOT NULL,
    done         BIGINT NOT NULL,
    failed       BIGINT NOT NULL,
    skipped      BIGINT NOT NULL,
    warned       BIGINT NOT NULL,
    rows_slot    BIGINT, -- of the key of its rows; none after its end
    kept_slot    BIGINT  -- of the key of those that failed; none after they were destroyed
);
CREATE INDEX job_place ON job (organisation, facility, id);
CREATE INDEX job_state ON job (state, changed);

CREATE TABLE job_row (
    job     BYTEA  NOT NULL,
    n       BIGINT NOT NULL, -- from 1; 0 has what the others are read by
    line    BIGINT NOT NULL,
    state   TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    field   TEXT   NOT NULL, -- the column that the reason is about
    record  BYTEA,
    content BYTEA,           -- sealed; none once it is not needed
    faults  BYTEA,           -- sealed
    PRIMARY KEY (job, n)
);
CREATE INDEX job_row_state ON job_row (job, state, n);

-- Slots of the key file that are to be overwritten. A crash between this and that
-- leaves them here for the next opening.
CREATE TABLE doomed (slot BIGINT NOT NULL PRIMARY KEY);
