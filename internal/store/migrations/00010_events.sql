-- What events are found by, captures, queries that stay, and who has them sent.

-- +goose Up

-- Names of events are each organisation's own: whether another one has an event of a name
-- nobody learns by trying.
DROP INDEX event_id;
CREATE UNIQUE INDEX event_id ON event (id, organisation, declared);
CREATE INDEX event_recorded ON event (recorded, n);

-- The entries of events in indexes, in their one form (epcis.Index).
CREATE TABLE event_key (
    kind  TEXT   NOT NULL,
    value TEXT   NOT NULL,
    event BIGINT NOT NULL,
    PRIMARY KEY (kind, value, event)
);
-- Who takes part: what a partner may see is decided by it.
CREATE INDEX event_key_party ON event_key (event, value) WHERE kind = 'p';

CREATE TABLE capture_job (
    id           TEXT  NOT NULL PRIMARY KEY,
    organisation TEXT  NOT NULL,
    captured     TEXT  NOT NULL, -- by which account
    content      BYTEA NOT NULL
);
CREATE INDEX capture_job_organisation ON capture_job (organisation, id);

CREATE TABLE event_query (
    organisation TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    created      BIGINT NOT NULL, -- milliseconds
    content      BYTEA  NOT NULL, -- JSON
    PRIMARY KEY (organisation, name)
);

CREATE TABLE subscription (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL,
    query        TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    position     BIGINT NOT NULL, -- number of the last event that was looked at
    due          BIGINT NOT NULL, -- milliseconds
    scheduled    BIGINT NOT NULL, -- 0: at once
    content      BYTEA  NOT NULL
);
CREATE INDEX subscription_query ON subscription (organisation, query, id);
CREATE INDEX subscription_due ON subscription (due);
