-- Goods that changed hands, each as both parties signed it. Nothing in it is of a person.

-- +goose Up

CREATE TABLE handover (
    id                TEXT   NOT NULL PRIMARY KEY,
    n                 BIGINT NOT NULL,
    version           BIGINT NOT NULL,
    giver             TEXT   NOT NULL, -- an organisation, or the name of a partner
    giver_facility    TEXT   NOT NULL,
    receiver          TEXT   NOT NULL,
    receiver_facility TEXT   NOT NULL,
    at                BIGINT NOT NULL, -- seconds
    content           BYTEA  NOT NULL  -- docs/spec/handover.md
);
CREATE UNIQUE INDEX handover_n ON handover (n);
CREATE INDEX handover_giver ON handover (giver, n);
CREATE INDEX handover_receiver ON handover (receiver, n);
