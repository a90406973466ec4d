-- What devices measure, and what is known of them. Nothing in it is of a person but the
-- accounts of those who acknowledge and set up. Contents of a registry are JSON; what
-- is looked for stands beside it.

-- +goose Up

CREATE TABLE equipment (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    content      BYTEA  NOT NULL
);
CREATE INDEX equipment_place ON equipment (organisation, facility, name);

CREATE TABLE device (
    id           BYTEA  NOT NULL PRIMARY KEY, -- object identifier, DER content octets
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    claim        BYTEA,                       -- SHA-256 of the code on its label
    content      BYTEA  NOT NULL
);
CREATE INDEX device_place ON device (organisation, id);
CREATE UNIQUE INDEX device_claim ON device (claim);

CREATE TABLE device_name (
    name   TEXT  NOT NULL PRIMARY KEY,
    device BYTEA NOT NULL
);
CREATE INDEX device_name_of ON device_name (device);

-- In which equipment a device is or was; when, its content says.
CREATE TABLE device_stay (
    equipment TEXT  NOT NULL,
    device    BYTEA NOT NULL,
    PRIMARY KEY (equipment, device)
);
CREATE INDEX device_stay_of ON device_stay (device);

CREATE TABLE stream (
    n        BIGINT NOT NULL PRIMARY KEY,
    device   BYTEA  NOT NULL,
    sensor   TEXT   NOT NULL,
    quantity TEXT   NOT NULL,
    every    BIGINT NOT NULL, -- seconds between readings
    sealed   BIGINT NOT NULL, -- the chain of segments that were sealed here: its last number
    sealhash BYTEA  NOT NULL,
    own      BIGINT NOT NULL, -- the device's own
    ownhash  BYTEA  NOT NULL,
    last     BIGINT NOT NULL, -- newest reading: its time
    value    BIGINT NOT NULL, -- and its value
    heard    BIGINT NOT NULL, -- when something new came, milliseconds; 0: never
    opened   BIGINT NOT NULL, -- since when readings are open, seconds; 0: none are
    unsealed BIGINT NOT NULL  -- readings that are not sealed
);
CREATE UNIQUE INDEX stream_of ON stream (device, sensor, quantity);

-- Blocks of readings, in the order in which they arrived.
CREATE TABLE block (
    n        BIGINT NOT NULL PRIMARY KEY,
    stream   BIGINT NOT NULL,
    origin   BIGINT NOT NULL, -- fleet.Origin
    seq      BIGINT NOT NULL, -- of a segment
    first    BIGINT NOT NULL,
    last     BIGINT NOT NULL,
    count    BIGINT NOT NULL,
    low      BIGINT NOT NULL,
    high     BIGINT NOT NULL,
    level    BIGINT NOT NULL,
    received BIGINT NOT NULL, -- milliseconds
    data     BYTEA  NOT NULL
);
CREATE INDEX block_times ON block (stream, last, first);
CREATE UNIQUE INDEX block_seq ON block (stream, origin, seq, n) WHERE origin > 0;

CREATE TABLE raw (
    digest   BYTEA  NOT NULL PRIMARY KEY,
    media    TEXT   NOT NULL,
    supplier TEXT   NOT NULL,
    until    BIGINT NOT NULL,
    body     BYTEA
);
CREATE INDEX raw_until ON raw (until);

CREATE TABLE alarm (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    stream       BIGINT NOT NULL,
    equipment    TEXT   NOT NULL,
    since        BIGINT NOT NULL,
    until        BIGINT NOT NULL, -- the greatest number where it goes on
    content      BYTEA  NOT NULL
);
CREATE INDEX alarm_place ON alarm (organisation, id);
CREATE INDEX alarm_state ON alarm (state, id);
CREATE INDEX alarm_stream ON alarm (stream, since);
CREATE INDEX alarm_equipment ON alarm (equipment, until, since);

CREATE TABLE alarm_version (
    alarm     TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    statement BYTEA  NOT NULL,
    PRIMARY KEY (alarm, version)
);

CREATE TABLE target (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL,
    facility     TEXT   NOT NULL,
    content      BYTEA  NOT NULL
);

CREATE TABLE notice (
    id       TEXT   NOT NULL PRIMARY KEY,
    alarm    TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    target   TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    due      BIGINT NOT NULL, -- milliseconds; the greatest number: it is sent, or given up
    attempts BIGINT NOT NULL,
    sent     BIGINT NOT NULL,
    given    BIGINT NOT NULL,
    problem  TEXT   NOT NULL
);
CREATE INDEX notice_due ON notice (due);

CREATE TABLE transmission (
    n            BIGINT NOT NULL PRIMARY KEY,
    organisation TEXT NOT NULL,
    supplier TEXT   NOT NULL,
    received BIGINT NOT NULL, -- seconds
    content  BYTEA  NOT NULL
);
CREATE INDEX transmission_supplier ON transmission (supplier, n);
CREATE INDEX transmission_received ON transmission (received);

-- Sessions of MQTT clients, which outlive the server.
CREATE TABLE session_mqtt (
    id         TEXT   NOT NULL PRIMARY KEY,
    version    BIGINT NOT NULL,
    expiry     BIGINT NOT NULL,
    subscribed BIGINT NOT NULL
);

-- Windows whose segments were anchored in the ledger together.
CREATE TABLE anchored (
    n        BIGINT NOT NULL PRIMARY KEY, -- from 1
    since    BIGINT NOT NULL, -- seconds
    until    BIGINT NOT NULL,
    after    BIGINT NOT NULL, -- segments with numbers above this one
    last     BIGINT NOT NULL, -- up to this one
    root     BYTEA  NOT NULL,
    readings BIGINT NOT NULL,
    segments BIGINT NOT NULL,
    gap      BIGINT NOT NULL
);

-- One row: the last block that was evaluated.
CREATE TABLE cursor (
    id BIGINT NOT NULL PRIMARY KEY,
    n  BIGINT NOT NULL
);
INSERT INTO cursor (id, n) VALUES (1, 0);
